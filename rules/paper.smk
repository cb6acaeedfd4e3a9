rule write_paper:
    """Draft of the paper with this run's numbers; no number in it is typed by hand."""
    input:
        tables=PLAN.tables("csv"),
        figures=PLAN.figures(),
        config=CONFIG,
    output:
        md="results/{run}/paper/paper.md",
        tex="results/{run}/paper/paper.tex",
        parts=expand("results/{{run}}/paper/{part}", part=PAPER_PARTS),
    log:
        "logs/{run}/write_paper.log",
    benchmark:
        "logs/{run}/write_paper.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("write_paper.py"),
        templates=PLAN.templates_sha256(),
        titles=PLAN.titles(),
        style=SETTINGS.paper_style,
    script:
        "../workflow/scripts/write_paper.py"


rule compile_paper:
    """The draft as PDF, where a TeX is installed; elsewhere a note that says why there is none."""
    input:
        tex="results/{run}/paper/paper.tex",
        parts=expand("results/{{run}}/paper/{part}", part=PAPER_PARTS),
        figures=PLAN.figures(),
        tables=PLAN.tables("tex"),
    output:
        build="results/{run}/paper/build.json",
    log:
        "logs/{run}/compile_paper.log",
    benchmark:
        "logs/{run}/compile_paper.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("compile_paper.py"),
        engine=which("pdflatex"),
        pdf="results/{run}/paper/paper.pdf",
    script:
        "../workflow/scripts/compile_paper.py"


rule write_front:
    """First page of the report: headline scores, figures with captions, versions, settings."""
    input:
        headline="results/{run}/tables/headline.csv",
        made="results/{run}/tables/provenance.csv",
        figures=PLAN.figures(),
        config=CONFIG,
    output:
        page="results/{run}/front.rst",
    log:
        "logs/{run}/write_front.log",
    benchmark:
        "logs/{run}/write_front.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("write_front.py"),
        captions=PLAN.captions_sha256(),
    script:
        "../workflow/scripts/write_front.py"


rule paper:
    """The draft."""
    input:
        PLAN.paper(),


rule smoke:
    """Bring-up of a fresh node in minutes: check it, then a sliver of every dataset through one step of everything."""
    input:
        config=CONFIG,
    log:
        f"logs/{RUN}/smoke.log",
    benchmark:
        f"logs/{RUN}/smoke.benchmark.tsv"
    conda:
        CONDA
    threads: SETTINGS.threads
    shell:
        "(python -m cldtrans doctor --config {input.config:q}"
        " && python -m cldtrans run --no-report --configfile smoke --cores {threads} --nolock) 2>&1 | tee {log:q}"

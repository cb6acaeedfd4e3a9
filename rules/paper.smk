rule write_paper:
    """Draft of the paper with this run's numbers; no number in it is typed by hand."""
    input:
        tables=PLAN.tables("csv"),
        figures=PLAN.figures(),
        config=CONFIG,
    output:
        md="results/{run}/paper/paper.md",
        tex="results/{run}/paper/paper.tex",
    log:
        "logs/{run}/write_paper.log",
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("write_paper.py"),
        templates=PLAN.templates_sha256(),
    script:
        "../workflow/scripts/write_paper.py"


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
    conda:
        CONDA
    threads: SETTINGS.threads
    shell:
        "(python -m cldtrans doctor --config {input.config:q}"
        " && python -m cldtrans run --no-report --configfile smoke --cores {threads} --nolock) 2>&1 | tee {log:q}"

rule make_tables:
    """Every result file as tidy tables: mean over seeds with 95 % interval, chance, n, reasons."""
    input:
        results=PLAN.results(),
        predictions=PLAN.predictions(),
        metas=PLAN.every_shards("meta.json"),
        quarantines=PLAN.every_shards("quarantine.csv"),
        stamps=PLAN.stamps(),
        histories=PLAN.histories(),
        audit=PLAN.audit(),
        published=PLAN.published(),
    output:
        csv=PLAN.tables("csv"),
        html=[
            report(
                f"results/{RUN}/tables/{name}.html",
                category="Tables",
                labels={"table": TABLE_TITLES[name]},
                caption=f"../workflow/report/table_{name}.rst",
            )
            for name in TABLES
        ],
        text=PLAN.tables("md", "tex"),
    log:
        f"logs/{RUN}/make_tables.log",
    benchmark:
        f"logs/{RUN}/make_tables.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=script_code("make_tables.py"),
        titles=PLAN.titles(),
    script:
        "../workflow/scripts/make_tables.py"


rule plot_scores:
    """One figure drawn from finished tables alone."""
    input:
        table="results/{run}/tables/{figure}.csv",
        summary="results/{run}/tables/summary.csv",
    output:
        png=report(
            "results/{run}/figures/{figure}.png",
            category="Figures",
            subcategory="Scores",
            labels=lambda wildcards: {"figure": figure_title(wildcards.figure)},
            caption="../workflow/report/figure_of_many.rst",
        ),
        pdf="results/{run}/figures/{figure}.pdf",
    log:
        "logs/{run}/plot_scores/{figure}.log",
    benchmark:
        "logs/{run}/plot_scores/{figure}.benchmark.tsv"
    wildcard_constraints:
        figure=one_of(SCORE_FIGURES),
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("plot_{figure}.py"),
        titles=PLAN.titles(),
        caption=figure_caption,
    script:
        "../workflow/scripts/plot_{wildcards.figure}.py"


rule plot_training:
    """Loss terms, codebook perplexity and validation of every pretraining."""
    input:
        histories=PLAN.histories(),
    output:
        png=report(
            "results/{run}/figures/training.png",
            category="Figures",
            subcategory="Diagnostics",
            labels={"figure": "pretraining"},
            caption="../workflow/report/figure_training.rst",
        ),
        pdf="results/{run}/figures/training.pdf",
    log:
        "logs/{run}/plot_training.log",
    benchmark:
        "logs/{run}/plot_training.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("plot_training.py"),
    script:
        "../workflow/scripts/plot_training.py"


rule plot_readings:
    """What the pretrained model reads in windows of the corpora."""
    input:
        weights=PLAN.checkpoints(1)[:1],
        indices=PLAN.every_shards(),
    output:
        png=report(
            "results/{run}/figures/{reading}.png",
            category="Figures",
            subcategory="What the model reads",
            labels=lambda wildcards: {"figure": figure_title(wildcards.reading)},
            caption="../workflow/report/figure_of_many.rst",
        ),
        pdf="results/{run}/figures/{reading}.pdf",
    log:
        "logs/{run}/plot_readings/{reading}.log",
    benchmark:
        "logs/{run}/plot_readings/{reading}.benchmark.tsv"
    wildcard_constraints:
        reading=one_of(READING_FIGURES),
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=script_code("plot_{figure}.py"),
        titles=PLAN.titles(),
        caption=figure_caption,
    script:
        "../workflow/scripts/plot_{wildcards.reading}.py"


rule plot_architecture:
    """The parts of the model, with the sizes of this run."""
    input:
        config=CONFIG,
    output:
        png=report(
            "results/{run}/figures/architecture.png",
            category="Figures",
            subcategory="What the model reads",
            labels={"figure": "the model"},
            caption="../workflow/report/figure_architecture.rst",
        ),
        pdf="results/{run}/figures/architecture.pdf",
    log:
        "logs/{run}/plot_architecture.log",
    benchmark:
        "logs/{run}/plot_architecture.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=script_code("plot_architecture.py"),
        model=settings_module.fingerprint(SETTINGS.model.model_dump(mode="json")),
    script:
        "../workflow/scripts/plot_architecture.py"


rule plot_propagation:
    """A recorded seizure on the head: its lead, and who follows when, at the onset and 2 and 5 s later."""
    input:
        indices=PLAN.every_shards(),
    output:
        png=report(
            "results/{run}/figures/propagation.png",
            category="Figures",
            subcategory="What the model reads",
            labels={"figure": "a seizure on the head"},
            caption="../workflow/report/figure_propagation.rst",
        ),
        pdf="results/{run}/figures/propagation.pdf",
        csv="results/{run}/figures/propagation.csv",
    log:
        "logs/{run}/plot_propagation.log",
    benchmark:
        "logs/{run}/plot_propagation.benchmark.tsv"
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=script_code("plot_propagation.py"),
        titles=PLAN.titles(),
    script:
        "../workflow/scripts/plot_propagation.py"


rule figures:
    """Every figure."""
    input:
        PLAN.figures(),

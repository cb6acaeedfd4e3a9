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
    output:
        csv=PLAN.tables("csv"),
        html=[
            report(
                f"results/{RUN}/tables/{name}.html",
                category="Tables",
                labels={"table": name},
                caption=f"../workflow/report/table_{name}.rst",
            )
            for name in TABLES
        ],
        text=PLAN.tables("md", "tex"),
    log:
        f"logs/{RUN}/make_tables.log",
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
    output:
        png=report(
            "results/{run}/figures/{figure}.png",
            category="Figures",
            labels={"figure": "{figure}"},
            caption="../workflow/report/figure_scores.rst",
        ),
        pdf="results/{run}/figures/{figure}.pdf",
    log:
        "logs/{run}/plot_scores/{figure}.log",
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
            labels={"figure": "training"},
            caption="../workflow/report/figure_training.rst",
        ),
        pdf="results/{run}/figures/training.pdf",
    log:
        "logs/{run}/plot_training.log",
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=script_code("plot_training.py"),
    script:
        "../workflow/scripts/plot_training.py"


rule plot_lags:
    """Lags, edges and motifs that the pretrained model reads in one window of each corpus."""
    input:
        weights=PLAN.checkpoints(1)[:1],
        indices=PLAN.every_shards(),
    output:
        png=report(
            "results/{run}/figures/lags.png",
            category="Figures",
            labels={"figure": "lags"},
            caption="../workflow/report/figure_lags.rst",
        ),
        pdf="results/{run}/figures/lags.pdf",
    log:
        "logs/{run}/plot_lags.log",
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=script_code("plot_lags.py"),
        titles=PLAN.titles(),
    script:
        "../workflow/scripts/plot_lags.py"


rule plot_motifs:
    """Use of the codebook, and the real waveforms that its common motifs stand for."""
    input:
        weights=PLAN.checkpoints(1)[:1],
        indices=PLAN.every_shards(),
    output:
        png=report(
            "results/{run}/figures/motifs.png",
            category="Figures",
            labels={"figure": "motifs"},
            caption="../workflow/report/figure_motifs.rst",
        ),
        pdf="results/{run}/figures/motifs.pdf",
    log:
        "logs/{run}/plot_motifs.log",
    conda:
        CONDA
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=script_code("plot_motifs.py"),
        titles=PLAN.titles(),
    script:
        "../workflow/scripts/plot_motifs.py"


rule plot_propagation:
    """A recorded seizure on the head: its lead, and who follows when, at the onset and 2 and 5 s later."""
    input:
        indices=PLAN.every_shards(),
    output:
        png=report(
            "results/{run}/figures/propagation.png",
            category="Figures",
            labels={"figure": "propagation"},
            caption="../workflow/report/figure_propagation.rst",
        ),
        pdf="results/{run}/figures/propagation.pdf",
        csv="results/{run}/figures/propagation.csv",
    log:
        "logs/{run}/plot_propagation.log",
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

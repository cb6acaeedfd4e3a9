"""Tables of the draft's text: method by dataset, the best of a column in bold, never wider than the page."""

from collections.abc import Sequence

import pandas as pd
from paper_claims import condition
from paper_numbers import escape
from plot_style import name

from cldtrans.scoring.summary import LOWER_IS_BETTER

FIRST = r">{\raggedright\arraybackslash}p{0.2\linewidth}"
OTHERS = r">{\centering\arraybackslash}p{0.125\linewidth}"
WIDEST = 5
"""Columns of scores side by side; more go below."""


def matrix(
    rows: pd.DataFrame, line: str, column: Sequence[str], caption: str, label: str, across: bool = False
) -> str:
    """Return scores as a table.

    Parameters
    ----------
    rows : DataFrame
        One a score: mean, ci_low, ci_high, chance, n_subjects, and what `line` and `column` name.
    line : str
        What stands at the left, such as `method`.
    column : sequence of str
        What tells columns apart.
    caption, label : str
        Of the table; the caption as LaTeX.
    across : bool
        Whether the best of a line's scores by one metric is bold, and not the best of a column.

    Returns
    -------
    str
        A floating table; one that says that there is nothing where `rows` is empty.
    """
    if rows.empty or rows["mean"].isna().all():
        body = "\\emph{No cell of this kind in this run's plan.}\n"
    else:
        keys = list(dict.fromkeys(map(tuple, rows[list(column)].astype(str).to_numpy().tolist())))
        pieces = [keys[start : start + WIDEST] for start in range(0, len(keys), WIDEST)]
        body = "\n\\par\\medskip\n".join(_piece(rows, line, column, piece, across) for piece in pieces)
    head = f"\\begin{{table}}[t]\\centering\\small\n\\caption{{{caption}}}\\label{{{label}}}\n"
    return f"{head}{body}\\end{{table}}\n"


def _piece(
    rows: pd.DataFrame, line: str, column: Sequence[str], keys: list[tuple[str, ...]], across: bool
) -> str:
    by_column = [rows[(rows[list(column)].astype(str) == list(key)).all(axis=1)] for key in keys]
    shown = pd.concat(by_column)
    lines = list(dict.fromkeys(shown[line]))
    heads = [r" \newline ".join(filter(None, map(_head, key))) for key in keys]
    body = []
    for one in lines:
        cells = []
        for part in by_column:
            found = part[part[line] == one]
            rivals = rows[(rows[line] == one) & rows["metric"].isin(found["metric"])] if across else part
            cells.append(_cell(found, rivals))
        body.append(" & ".join([escape(name(one)), *cells]) + r" \\")
    foot = [
        " & ".join([title, *(_common(part, what, digits) for part in by_column)]) + r" \\"
        for title, what, digits in (
            ("chance", "chance", 3),
            ("metadata alone", "floor", 3),
            ("subjects", "n_subjects", 0),
        )
        if any(_common(part, what, digits) != "--" for part in by_column)
    ]
    names = " & ".join(["", *heads]) + r" \\"
    return (
        f"\\begin{{tabular}}{{@{{}}{FIRST}*{{{len(keys)}}}{{{OTHERS}}}@{{}}}}\n"
        f"\\toprule\n{names}\n\\midrule\n"
        + "\n".join(body)
        + ("\n\\midrule\n" + "\n".join(foot) if foot else "")
        + "\n\\bottomrule\n\\end{tabular}\n"
    )


def _head(text: str) -> str:
    try:
        share = float(text)
    except ValueError:
        metric, _, degraded = text.partition("@")
        return escape(name(metric) + (f", {condition(degraded)}" if degraded else ""))
    return f"{share:.0%} of labels".replace("%", "\\,\\%") if share else ""


def _cell(found: pd.DataFrame, rivals: pd.DataFrame) -> str:
    if found.empty or pd.isna(found.iloc[0]["mean"]):
        return "--"
    row = found.iloc[0]
    lower = row["metric"].partition("@")[0] in LOWER_IS_BETTER
    best = rivals["mean"].min() if lower else rivals["mean"].max()
    value = f"{row['mean']:.3f}"
    if value == f"{best:.3f}" and rivals["mean"].notna().sum() > 1:
        value = f"\\textbf{{{value}}}"
    if pd.isna(row["ci_low"]):
        return value
    return f"\\shortstack[t]{{{value}\\\\{{\\tiny [{row['ci_low']:.2f}, {row['ci_high']:.2f}]}}}}"


def _common(column: pd.DataFrame, what: str, digits: int) -> str:
    """Return what all scores of a column share; its range where they do not."""
    values = column[what].dropna()
    if values.empty or (what == "n_subjects" and values.max() <= 1):
        return "--"
    low, high = f"{values.min():.{digits}f}", f"{values.max():.{digits}f}"
    return low if low == high else f"{low}--{high}"

"""The page of `semcache tune --report`: what the labels prove, in charts and tables, and the worst wrong hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from semcache.evaluation.tune.advising import as_toml, notes, summary
from semcache.evaluation.tune.curves import Point
from semcache.evaluation.tune.tuning import Tuning, Variant
from semcache.reports import page
from semcache.reports.charts import FIRST, SECOND, Axis, Line, Mark, bar_chart, histogram, line_chart
from semcache.reports.page import figure, table

_HEADS = (
    "threshold",
    "hits",
    "traps",
    "wrong, % of served",
    "95 % interval",
    "bound, %",
    "hit ratio, %",
    "net $ / 1,000",
)
_WORST = 20
"""Wrong hits shown."""
_TEXT_CHARS = 600
"""Characters shown of a text."""
_KINDS = 16
"""Kinds of traps shown."""


def tuning_page(tuning: Tuning, sources: Sequence[str], *, from_store: bool, tuned_for: str = "") -> str:
    """Return the page as HTML; every text from the data is escaped.

    Args:
        tuning: the results.
        sources: the sources of the labels, a few words each.
        from_store: whether the labels are a server's judged hits.
        tuned_for: what computed the similarities; empty if that is unknown.
    """
    pasted = as_toml(tuning, tuned_for)
    body = [
        _summary(tuning),
        f"<h2>To paste into semcache.toml</h2><pre>{escape(pasted)}</pre>" if pasted else "",
        f"<p>{escape(tuning.choice.reason)}</p>" if tuning.chosen is not None else "",
        f'<h2>In pictures</h2><div class="charts">{"".join(_charts(tuning))}</div>',
        f"<h2>The wrong hits most alike ({escape(_point_name(tuning))})</h2>{_worst(tuning)}",
        f"<h2>By namespace and task type</h2>{_parts(tuning)}" if tuning.parts else "",
        f"<h2>By threshold</h2>{_thresholds(tuning)}",
        "<h2>To keep in mind</h2>",
        page.notes(notes(tuning, from_store=from_store)),
    ]
    return page.page("semcache tune", "Which threshold?", _from(tuning, sources), body)


def _from(tuning: Tuning, sources: Sequence[str]) -> str:
    scored = tuning.guarded.scored
    counts = f"{scored.requests:,.0f} requests of {tuning.units.count:,} independent {tuning.units.basis}"
    return f"{counts}, {tuning.pairs:,} pairs compared. From {', '.join(sources)}."


def _summary(tuning: Tuning) -> str:
    style = "summary" if tuning.chosen is not None else "summary none"
    return f'<p class="{style}">{escape(summary(tuning))}</p>'


def _shown_point(tuning: Tuning) -> Point:
    """Return the point to show: that of the proven threshold, or of the one in force if none is proven."""
    return tuning.chosen or tuning.current


def _point_name(tuning: Tuning) -> str:
    return f"{'proven' if tuning.chosen else 'in force'}: {_shown_point(tuning).threshold:g}"


def _charts(tuning: Tuning) -> list[str]:
    return [
        figure("How often a served answer is right, by how many requests are served", _precision(tuning)),
        figure("Hits and traps served, by threshold", _served(tuning)),
        figure("Similarity of pairs that share an answer, and of those that don't", _similarity(tuning)),
        figure(f"Traps served by kind ({_point_name(tuning)})", _kinds(tuning)),
    ]


def _precision(tuning: Tuning) -> str:
    lines = []
    for number, variant in enumerate(tuning.variants):
        shown = [point for point in variant.points if point.wrong_share is not None]
        lines.append(
            Line(
                variant.name,
                np.array([100 * point.hit_ratio for point in shown]),
                np.array([100 * (1 - (point.wrong_share or 0.0)) for point in shown]),
                SECOND if number else FIRST,
                "dashed" if number else "solid",
            )
        )
    at = _shown_point(tuning)
    marks = []
    if at.wrong_share is not None:
        marks.append(Mark(_point_name(tuning), 100 * at.hit_ratio, 100 * (1 - at.wrong_share)))
    return line_chart(
        "precision", lines, marks, Axis("hit ratio, % of these requests", 0), Axis("right, % of served", None, 100.5)
    )


def _served(tuning: Tuning) -> str:
    variant = tuning.guarded
    same = variant.scored.same
    hits, traps = (max(1e-9, float(variant.scored.weights[of].sum())) for of in (same, ~same))
    at = np.array([point.threshold for point in variant.points])
    lines = [
        Line("hits", at, np.array([100 * point.hits / hits for point in variant.points]), FIRST),
        Line("traps", at, np.array([100 * point.traps / traps for point in variant.points]), SECOND, "dashed"),
    ]
    for other in tuning.variants[1:]:
        share = np.array([100 * point.traps / traps for point in other.points])
        lines.append(Line("traps, guards off", at, share, SECOND, "dotted"))
    marks = [Mark(_point_name(tuning), _shown_point(tuning).threshold)]
    return line_chart("served", lines, marks, Axis("threshold"), Axis("% served", 0))


def _similarity(tuning: Tuning) -> str:
    pairs = [item for item in tuning.guarded.scored.pairs if item.similarity is not None]
    groups = [
        (name, np.array([item.similarity for item in pairs if item.pair.same is same], dtype=np.float64), colour)
        for name, same, colour in (("one answer", True, FIRST), ("different answers", False, SECOND))
    ]
    marks = [Mark(_point_name(tuning), _shown_point(tuning).threshold)]
    return histogram("similarity", groups, marks, Axis("similarity (cosine)"), Axis("share of each"))


def _kinds(tuning: Tuning) -> str:
    scored = tuning.guarded.scored
    served = scored.served(_shown_point(tuning).threshold)
    of = Counter(item.pair.kind for item in scored.pairs if not item.pair.same)
    wrong = Counter(
        item.pair.kind for item, flag in zip(scored.pairs, served, strict=True) if flag and not item.pair.same
    )
    kinds = sorted(of, key=lambda kind: (-wrong[kind], kind))[:_KINDS]
    return bar_chart("kinds", [(kind, wrong[kind], of[kind]) for kind in kinds], Axis("traps served"))


def _thresholds(tuning: Tuning) -> str:
    tables = []
    for variant in tuning.variants:
        tables.append(f"<h3>{escape(variant.title)}</h3>")
        tables.append(_variant_table(tuning, variant))
    return "".join(tables)


def _variant_table(tuning: Tuning, variant: Variant) -> str:
    rows = []
    for point in tuning.table_points(variant):
        interval = point.wrong_interval
        cells = (
            f"{point.threshold:g}" + (" (in force)" if point.threshold == tuning.current.threshold else ""),
            f"{point.hits:,.0f}",
            f"{point.traps:,.0f}",
            "–" if point.wrong_share is None else f"{100 * point.wrong_share:.2f}",
            "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}",
            "" if point.wrong_upper is None else f"{100 * point.wrong_upper:.1f}",
            f"{100 * point.hit_ratio:.1f}",
            f"{point.net_usd:,.4f}",
        )
        chosen = tuning.chosen is not None and point.threshold == tuning.chosen.threshold
        rows.append((' class="chosen"' if chosen else "", cells))
    return table(_HEADS, rows)


def _parts(tuning: Tuning) -> str:
    rows = []
    for part in tuning.parts:
        proven, point = part.choice.proven, part.point
        cells = (
            f"{part.field.replace('_', ' ')} {part.name}",
            f"{part.pairs:,}",
            "–" if proven is None else f"{proven.threshold:g}",
            "" if point is None else f"{point.hits:,.0f}",
            "" if point is None else f"{point.traps:,.0f}",
        )
        rows.append(("", cells))
    return table(("", "pairs", "proven threshold", "hits", "traps"), rows)


def _worst(tuning: Tuning) -> str:
    scored = tuning.guarded.scored
    served = scored.served(_shown_point(tuning).threshold) & ~scored.same
    numbers = np.flatnonzero(served)
    if not numbers.size:
        return "<p>None would be served.</p>"
    worst = numbers[np.argsort(-scored.scores[numbers], kind="stable")][:_WORST]
    rows = []
    for number in worst:
        item = scored.pairs[number]
        similarity = "exact" if item.similarity is None else f"{item.similarity:.4f}"
        asked, stored = (_clip(side[-1]["content"]) for side in (item.pair.asked, item.pair.stored))
        texts = "".join(f'<td class="text" dir="auto">{escape(text)}</td>' for text in (asked, stored))
        rows.append(f"<tr><td>{escape(item.pair.kind)}</td><td>{similarity}</td>{texts}</tr>")
    more = f"<p>… and {numbers.size - len(worst):,} more.</p>" if numbers.size > len(worst) else ""
    head = '<tr><th>kind</th><th>similarity</th><th class="text">asked</th><th class="text">stored</th></tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>{more}'


def _clip(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else text[:_TEXT_CHARS] + "…"

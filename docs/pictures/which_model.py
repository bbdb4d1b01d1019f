"""Draw the pictures of the guide "Which model should I trust?" from the demo's story.

.venv/bin/python docs/pictures/which_model.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from html import escape
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from trackflow_core.attribution import BUILTIN_RULES, Fit, Model, attribute
from trackflow_core.attribution import Path as Journeys
from trackflow_core.attribution.fits import no_progress
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Link
from trackflow_core.testing import MemoryStore
from trackflow_data_driven import MARKOV, SHAPLEY
from trackflow_data_driven.learning import learn

HERE = Path(__file__).resolve().parent
_DEMO = HERE.parents[1] / "odoo_addon" / "trackflow"
END = datetime(2026, 6, 30, 18, tzinfo=timezone.utc)
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#72b7b2", "#e45756", "#9d755d", "#bab0ac")
_WIDTH, _LEFT, _ROW = 760, 170, 30


def pictures() -> Mapping[str, str]:
    """File name -> SVG."""
    engine, store = _demo()
    deals = store.deals()
    journeys = engine.journeys(deals)
    window = timedelta(days=90)
    paths: list[Journeys] = []
    bought: set[str] = set()
    for deal in deals:
        credits = attribute(journeys[deal.ref], deal, Model(SHAPLEY, lookback=window)).credits
        channels = tuple(credit.channel for credit in credits if credit.touch)
        bought |= {credit.touch.visitor_id for credit in credits if credit.touch}
        if channels:
            paths.append(Journeys(channels, 1, 1, deal.value))
    others: dict[str, list[tuple[datetime, str]]] = {}
    for event in store.click_events():
        visitor = event.click.visitor_id
        if visitor and event.is_touch and visitor not in bought:
            others.setdefault(visitor, []).append((event.click.occurred_at, event.source.channel))
    paths += [Journeys(tuple(channel for _, channel in sorted(own))) for own in others.values()]
    fit = learn("markov", False, paths, MARKOV.parameters, END, no_progress)
    rules = {rule.name: rule for rule in BUILTIN_RULES}
    names = ("first_touch", "last_touch", "linear", "time_decay", "position_based")
    models = [Model(rules[name], lookback=window) for name in names]
    models += [Model(SHAPLEY, lookback=window), Model(MARKOV, lookback=window, fit=fit)]
    revenue: dict[str, dict[str, int]] = {}
    for model in models:
        totals = revenue.setdefault(model.rule.title, {})
        for deal in deals:
            for credit in attribute(journeys[deal.ref], deal, model).credits:
                if credit.touch:
                    totals[credit.channel] = totals.get(credit.channel, 0) + credit.value
    return {"models.svg": _bars(revenue), "weights.svg": _weights(fit)}


def _demo() -> tuple[Engine, MemoryStore]:
    """The demo's clicks, leads and deals as Odoo gets them, ending on `END`."""
    story = _module("story", _DEMO / "demo" / "story.py")
    tree = ast.parse((_DEMO / "models" / "trackflow_demo.py").read_text(encoding="utf-8"))
    links = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "LINKS"
    )
    destinations = {code: f"https://shop.example/{code}" for code in links}
    store = MemoryStore(
        Link(code, destinations[code], source, medium, campaign)
        for code, (_title, campaign, medium, source) in links.items()
    )
    engine = Engine(store, Hooks())
    told = story.Story(END, "https://shop.example", destinations, "EUR", 2)
    for click in told.clicks:
        engine.record_click(click)
    engine.record_events(told.views)
    while engine.process_clicks().claimed:
        continue
    engine.apply(leads=told.leads)
    for deal in told.deals:
        engine.apply_deal(deal)
    return engine, store


def _module(name: str, path: Path) -> ModuleType:
    # The addon's package needs Odoo; its story does not.
    loader = SourceFileLoader(f"trackflow_demo_{name}", str(path))
    module = ModuleType(loader.name)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def _bars(revenue: Mapping[str, Mapping[str, int]]) -> str:
    """Each model's revenue, a bar in parts by channel."""
    totals: dict[str, int] = {}
    for channels in revenue.values():
        for channel, value in channels.items():
            totals[channel] = totals.get(channel, 0) + value
    order = sorted(totals, key=lambda channel: (-totals[channel], channel))
    colours = dict(zip(order, _COLOURS, strict=False))
    parts = []
    for place, (model, channels) in enumerate(revenue.items()):
        y, x = 20 + place * _ROW, float(_LEFT)
        parts.append(_text(_LEFT - 10, y + 15, model, "end"))
        whole = sum(channels.values())
        for channel in order:
            share = channels.get(channel, 0) / whole
            width = share * (_WIDTH - _LEFT - 10)
            title = f"<title>{escape(channel)}: {share:.0%}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" '
                f'fill="{colours[channel]}">{title}</rect>'
            )
            if width > 34:
                parts.append(_text(x + width / 2, y + 14, f"{share:.0%}", "middle", "#fff"))
            x += width
    y = 36 + len(revenue) * _ROW
    for place, channel in enumerate(order):
        left, top = _LEFT + place % 4 * 145, y + place // 4 * 20
        parts.append(
            f'<rect x="{left}" y="{top - 10}" width="12" height="12" fill="{colours[channel]}"/>'
        )
        parts.append(_text(left + 18, top, channel))
    label = "Share of revenue that each model gives each channel"
    return _svg(label, y + 20 * ((len(order) + 3) // 4), parts)


def _weights(fit: Fit) -> str:
    """Each channel's learned weight, with the ends between which it lies nine times of ten."""
    parts, highest = [], max(max(row) for row in fit.draws)
    scale = (_WIDTH - _LEFT - 70) / highest
    rows = sorted(fit.weights.items(), key=lambda item: (-item[1], item[0]))
    for place, (channel, weight) in enumerate(rows):
        y = 20 + place * _ROW
        low, high = fit.interval(channel) or (weight, weight)
        ends = [_LEFT + end * scale for end in (low, high)]
        middle = y + 10
        parts += [
            _text(_LEFT - 10, y + 15, channel, "end"),
            f'<rect x="{_LEFT}" y="{y}" width="{weight * scale:.1f}" height="20" fill="#4c78a8"/>',
            f'<path d="M{ends[0]:.1f} {middle}H{ends[1]:.1f}M{ends[0]:.1f} {y + 4}v12'
            f'M{ends[1]:.1f} {y + 4}v12" stroke="#f58518" stroke-width="2"/>',
            _text(_WIDTH - 4, y + 15, f"{weight / 10**9:.0%}", "end"),
        ]
    y = 40 + len(rows) * _ROW
    parts.append(_text(_LEFT, y, fit.note.split(";")[0].rstrip(".")))
    return _svg("Conversions that would be lost without each channel", y + 10, parts)


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#888") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
    )


def _svg(label: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}" font-family="sans-serif" font-size="13">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    for name, drawing in pictures().items():
        (HERE / name).write_text(drawing, encoding="utf-8")
        print(name)

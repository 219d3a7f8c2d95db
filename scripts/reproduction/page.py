"""The page of all experiments, from results and nothing else. Pure: the same results give the same page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reproduction.parts import Section, Table, plural
from reproduction.registry import EXPERIMENTS
from reproduction.results import Result, Results, Versions, successes
from reproduction.runs import Run, grouped
from reproduction.sizes import FULL, QUICK, Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """An experiment as it goes into the page: what was declared, what is there, and what it says."""

    name: str
    title: str
    question: str
    runs: Sequence[Run]
    results: Results
    section: Section

    @property
    def measured(self) -> int:
        return len(successes(self.results))

    @property
    def is_complete(self) -> bool:
        return self.measured == len(self.runs)


def chapters(results: Results, sizes: Sizes) -> list[Chapter]:
    """One an experiment, whatever is there of it."""
    found = []
    for name, experiment in EXPERIMENTS.items():
        runs = experiment.runs(sizes)
        own = {run.name: results[run.name] for run in runs if run.name in results}
        found.append(
            Chapter(
                name=name,
                title=experiment.title,
                question=experiment.question,
                runs=runs,
                results=own,
                section=experiment.section(successes(own), sizes),
            )
        )
    return found


def page(of: Sequence[Chapter], sizes: Sizes, *, images: str, results: str) -> str:
    """Markdown. `images` and `results` are the folders as the page links them."""
    lines = [
        "# Results",
        "",
        *_head(of, sizes, results),
        "",
        *_table(_overview(of)),
        "",
    ]
    for chapter in of:
        lines += [*_chapter(chapter, sizes, images), ""]
    return "\n".join(lines)


def answer(chapter: Chapter) -> str:
    """In words; also where there is none."""
    text = chapter.section.answer
    if chapter.is_complete:
        return text or "The figures do not answer it."
    count = f"{chapter.measured} of {plural(len(chapter.runs), 'run')}"
    state = "Not measured." if chapter.measured == 0 else f"Not measured in full: {count} have figures."
    return f"{state} {text}".strip()


def _head(of: Sequence[Chapter], sizes: Sizes, results: str) -> list[str]:
    warning = ["**A quick run, to see that all of it works: its figures say nothing.**", ""]
    kept = [result for chapter in of for result in successes(chapter.results).values()]
    command = _reproduce(sizes)
    text = [
        *(warning if sizes.name == QUICK.name else []),
        f"`{command}` makes this page: the experiments of MAR-FL (arXiv 2512.05234), {sizes.name} size, with real "
        f"peers as processes of one machine. Every number is computed from the files in `{results}/`, which it wrote.",
        "Seconds are of a machine that may have done other work besides; bytes and accuracies do not depend on it.",
        "Sizes and everything else that is set: `scripts/reproduction/sizes.py`; with the paper's settings, for larger "
        f"machines: `{_reproduce(FULL)}`.",
        "",
    ]
    if not kept:
        return [*text, "Nothing has been measured yet."]
    days = sorted({result.began.partition(" ")[0] for result in kept})
    minutes = sum(result.wall_seconds for result in kept) / 60
    cpu_minutes = sum(result.cpu_seconds or 0.0 for result in kept) / 60
    text.append(
        f"{plural(len(kept), 'run')}, {' to '.join(dict.fromkeys((days[0], days[-1])))}, {minutes:.0f} minutes in all, "
        f"{cpu_minutes:.0f} minutes of processor time:"
    )
    by_versions: dict[Versions, int] = {}
    for result in kept:
        by_versions[result.versions] = by_versions.get(result.versions, 0) + 1
    text += [""]
    for versions, count in sorted(by_versions.items()):
        text.append(
            f"- {plural(count, 'run')}: marfl-peer {versions.marfl_peer} (digest of its source {versions.source}), "
            f"torch {versions.torch}, Python {versions.python}, {plural(versions.cpus, 'core')}"
        )
    return text


def _overview(of: Sequence[Chapter]) -> Table:
    rows = [[f"[{chapter.title}](#{_anchor(chapter.title)})", answer(chapter)] for chapter in of]
    return Table(lead="", header=["experiment", "answer"], rows=rows)


def _chapter(chapter: Chapter, sizes: Sizes, images: str) -> list[str]:
    lines = [f"## {chapter.title}", "", chapter.question, "", f"**{answer(chapter)}**", ""]
    for table in chapter.section.tables:
        if table.rows and chapter.measured:
            lines += [table.lead, "", *_table(table), ""]
    for plot in chapter.section.plots:
        if not plot.is_empty:
            lines += [f"![{plot.text}]({images}/results-{plot.name}.svg)", ""]
    if chapter.measured:
        for note in chapter.section.notes:
            lines += [note, ""]
    lines += _missing(chapter)
    lines += ["Commands (`" + _reproduce(sizes, chapter.name) + "` runs them):", ""]
    for command, seeds in grouped(chapter.runs):
        lines.append(f"    {command}" + (f"    # SEED: {', '.join(map(str, seeds))}" if seeds else ""))
    lines += ["", f"With the paper's settings: `{_reproduce(FULL, chapter.name)}`"]
    return lines


def _missing(chapter: Chapter) -> list[str]:
    lines = []
    for run in chapter.runs:
        result: Result | None = chapter.results.get(run.name)
        if result is None:
            lines.append(f"- `{run.name}` was not run.")
        elif result.failure:
            lines.append(f"- `{run.name}` failed: {_plain(result.failure)}")
    return ["Without figures:", "", *lines, ""] if lines else []


def _table(table: Table) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    return [row(table.header), row(["---"] * len(table.header)), *(row(cells) for cells in table.rows)]


def _reproduce(sizes: Sizes, *only: str) -> str:
    size = "" if sizes.name == "small" else f" --size {sizes.name}"
    return f"scripts/reproduce{size}" + "".join(f" --only {name}" for name in only)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _plain(text: str) -> str:
    """What a process said, without what a page would take for its own marks."""
    return text.translate({ord(mark): None for mark in "`|<>*"})

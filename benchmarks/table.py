"""The table of a benchmark: every figure beside what must be reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line: how to take a figure (None: not to be judged) from a size's result, and its target at each size."""

    name: str
    figure: Callable[[Result], float | None]
    target: Callable[[Result], float | None]
    form: str = "{:.2f}"


# In smaller worlds the start is most of it.
SMALLEST_JUDGED = 5_000


def lines(base: Result | None) -> Sequence[Line]:
    """The lines of the table; `base` is the result that others must be in proportion to, the smallest size's."""
    return (
        Line("GitLab requests ÷ fewest by REST", _requests_ratio, _requests_target, "{:.3f}"),
        Line("first sync, wall ÷ latency bound", _wall("first"), _by_size(1.7, 1.5)),
        Line("second sync, wall ÷ latency bound", _wall("second"), _by_size(1.25, 1.2)),
        Line("second sync, Port requests", lambda r: _total(r, "second", "port"), port_bound, "{:.0f}"),
        Line("second sync, entity writes", lambda r: r["second"]["port"]["writes"], lambda _: 0, "{:.0f}"),
        Line("first sync, CPU s per 1,000 entities", _cpu("first"), _cpu_target(base, "first", 0.30), "{:.3f}"),
        Line("second sync, CPU s per 1,000 entities", _cpu("second"), _cpu_target(base, "second", 0.20), "{:.3f}"),
        *_since_lines(),
        Line("peak memory, MiB (sum of PSS)", _memory, _memory_target, "{:.0f}"),
        Line("start to first request ÷ imports", _start("first_request"), lambda _: 4),
        Line("--help ÷ imports", _start("help"), lambda _: 2),
    )


def _since_lines() -> Iterator[Line]:
    """Yield what `sync --since last` takes: nothing changed, and something in 3 % of the projects."""
    for run, title, gitlab, port, share in (
        ("quiet", "nothing changed", 30, 15, 0.1),
        ("changed", "3 % changed", 150, 60, 0.2),
    ):
        yield Line(f"--since last, {title}: GitLab requests", _asked_of(run, "gitlab"), _at(gitlab), "{:.0f}")
        yield Line(f"--since last, {title}: Port requests", _asked_of(run, "port"), _at(port), "{:.0f}")
        yield Line(f"--since last, {title}: wall ÷ full sync", _wall_share(run), _at(share))


def _at(most: float) -> Callable[[Result], float | None]:
    """A bound for a thousand projects; smaller worlds have none, as the start of a run is most of theirs."""
    return lambda result: most if result["projects"] == 1000 else None


def _asked_of(run: str, side: str) -> Callable[[Result], float | None]:
    return lambda result: _total(result, run, side) if run in result else None


def _wall_share(run: str) -> Callable[[Result], float | None]:
    """Beside the full sync right before, in which nothing changed either."""
    return lambda result: float(result[run]["seconds"]) / float(result["noting"]["seconds"]) if run in result else None


def facts() -> Sequence[Line]:
    """Lines without a target: what the figures above come from, and that the servers are not what is measured."""

    def of(run: str, side: str, name: str, times: float = 1) -> Callable[[Result], float | None]:
        return lambda r: float(r[run][side][name] * times)

    def nothing(_: Result) -> None:
        return None

    return (
        Line("entities", lambda r: r["entities"], nothing, "{:,.0f}"),
        Line("projects", lambda r: r["projects"], nothing, "{:,.0f}"),
        Line("GitLab requests of a sync", lambda r: _total(r, "second", "gitlab"), nothing, "{:,.0f}"),
        Line("fewest by REST", lambda r: sum(r["fewest"].values()), nothing, "{:,.0f}"),
        Line("first sync, seconds", lambda r: r["first"]["seconds"], nothing, "{:.1f}"),
        Line("second sync, seconds", lambda r: r["second"]["seconds"], nothing, "{:.1f}"),
        Line("latency bound of a sync, seconds", lambda r: latency_bound(r, "second"), nothing, "{:.1f}"),
        Line("first sync, CPU s: exporter", lambda r: r["first"]["cpu"], nothing, "{:.1f}"),
        Line("first sync, CPU s: of that jq workers", lambda r: r["first"]["workers_cpu"], nothing, "{:.1f}"),
        Line("first sync, CPU s: GitLab server", of("first", "gitlab", "cpu"), nothing, "{:.1f}"),
        Line("first sync, CPU s: Port server", of("first", "port", "cpu"), nothing, "{:.1f}"),
        Line("second sync, CPU s: exporter", lambda r: r["second"]["cpu"], nothing, "{:.1f}"),
        Line("second sync, CPU s: of that jq workers", lambda r: r["second"]["workers_cpu"], nothing, "{:.1f}"),
        Line("second sync, CPU s: GitLab server", of("second", "gitlab", "cpu"), nothing, "{:.1f}"),
        Line("second sync, CPU s: Port server", of("second", "port", "cpu"), nothing, "{:.1f}"),
        Line("GitLab server late, ms (mean)", of("second", "gitlab", "late_mean", 1000), nothing),
        Line("GitLab server late, ms (99 %)", of("second", "gitlab", "late_p99", 1000), nothing),
        Line("GitLab server, answers/s: asked", _asked("second", "gitlab"), nothing, "{:,.0f}"),
        Line("GitLab server, answers/s: possible", lambda r: r["possible"]["gitlab"], nothing, "{:,.0f}"),
        Line("Port server, first sync, answers/s: asked", _asked("first", "port"), nothing, "{:,.0f}"),
        Line("Port server, first sync, answers/s: possible", lambda r: r["possible"]["port_first"], nothing, "{:,.0f}"),
        Line("Port server, second sync, answers/s: asked", _asked("second", "port"), nothing, "{:,.0f}"),
        Line(
            "Port server, second sync, answers/s: possible", lambda r: r["possible"]["port_second"], nothing, "{:,.0f}"
        ),
    )


def port_bound(result: Result) -> float:
    """Return the most Port requests that a second sync of unchanged data may take."""
    port = result["second"]["port"]
    return float(port["entities"] / 1000 + port["entities"] / 5000 + 2 * port["blueprints"] + 6)


def latency_bound(result: Result, run: str) -> float:
    """Return the seconds that GitLab's answers take at least: their latencies, shared by all connections."""
    return float(result[run]["gitlab"]["latency_seconds"] / result["connections"])


def markdown(results: Mapping[str, Result]) -> str:
    """Return both tables as Markdown; a figure that misses its target is bold."""
    named = sorted(results.items(), key=lambda pair: int(pair[1]["entities"]))
    head = f"| | {' | '.join(f'{name} | must be ≤' for name, _ in named)} |"
    judged = [_row(line, [result for _, result in named], targets=True) for line in lines(_base(named))]
    more = [_row(line, [result for _, result in named], targets=False) for line in facts()]
    rule = "|---|" + "---|" * 2 * len(named)
    plain = f"| | {' | '.join(name for name, _ in named)} |"
    return "\n".join(
        [
            head,
            rule,
            *judged,
            "",
            *(f"- {note}" for note in notes(results)),
            "",
            plain,
            "|---|" + "---|" * len(named),
            *more,
        ]
    )


def _base(named: Sequence[tuple[str, Result]]) -> Result | None:
    """The proportions are to the size that the absolute targets are for, about 10,000 entities."""
    return next((result for _, result in named if SMALLEST_JUDGED <= result["entities"] < 50_000), None)


def _row(line: Line, results: Sequence[Result], *, targets: bool) -> str:
    cells: list[str] = []
    for result in results:
        figure, target = line.figure(result), _target(line, result)
        shown = "–" if figure is None else line.form.format(figure)
        cells.append(f"**{shown}**" if misses(figure, target) else shown)
        if targets:
            cells.append("–" if target is None or figure is None else f"{target:g}" if target < 10 else f"{target:.0f}")
    return f"| {line.name} | {' | '.join(cells)} |"


def misses(figure: float | None, target: float | None) -> bool:
    """Say whether a figure is beyond its target."""
    return figure is not None and target is not None and figure > target


def missed(results: Mapping[str, Result]) -> list[str]:
    """Return every line and size that misses its target."""
    named = sorted(results.items(), key=lambda pair: int(pair[1]["entities"]))
    return [
        f"{line.name} at {name}: {line.form.format(line.figure(result))}, must be ≤ {target:g}"
        for line in lines(_base(named))
        for name, result in named
        if (target := _target(line, result)) is not None and misses(line.figure(result), target)
    ]


def _target(line: Line, result: Result) -> float | None:
    return line.target(result) if result["entities"] >= SMALLEST_JUDGED else None


def notes(results: Mapping[str, Result]) -> Iterator[str]:
    """Yield what a reader has to know about single sizes."""
    for name, result in results.items():
        machine = result["machine"]
        yield (
            f"{name}: measured {result['date']} with Python {machine['python']} on {machine['cores']} cores "
            f"({machine['cpu']}); load average before: {result['load_before']:.1f}."
        )
        if result["latency_scale"] != 1:
            yield (
                f"{name}: all latencies times {result['latency_scale']:g}, so its seconds are not those of a real run; "
                "wall ÷ latency bound is not judged."
            )
        for run in ("first", "second"):
            if len(cpu := result[run].get("all_cpu", ())) > 1:
                seconds = result[run]["all_seconds"]
                yield (
                    f"{name}: of {len(cpu)} {run} syncs the one with the least CPU counts; they took "
                    f"{min(cpu):.1f} to {max(cpu):.1f} s of CPU and {min(seconds):.1f} to {max(seconds):.1f} s"
                    f"{_stolen(result[run])}."
                )
        if result["note"]:
            yield f"{name}: {result['note']}"


def _stolen(run: Result) -> str:
    shares = run.get("all_stolen")
    return f"; other guests took {min(shares):.0%} to {max(shares):.0%} of the cores' time" if shares else ""


def _total(result: Result, run: str, side: str) -> float:
    return float(sum(result[run][side]["requests"].values()))


def _requests_ratio(result: Result) -> float:
    return _total(result, "second", "gitlab") / float(sum(result["fewest"].values()))


def _requests_target(result: Result) -> float:
    return 0.75 if result["second"]["gitlab"]["requests"].get("graphql") else 1.02


def _wall(run: str) -> Callable[[Result], float | None]:
    def figure(result: Result) -> float | None:
        return float(result[run]["seconds"]) / latency_bound(result, run) if result["latency_scale"] == 1 else None

    return figure


def _by_size(small: float, large: float) -> Callable[[Result], float | None]:
    return lambda result: small if result["entities"] < 50_000 else large


def _cpu(run: str) -> Callable[[Result], float]:
    return lambda result: float(result[run]["cpu"] / result["entities"] * 1000)


def _cpu_target(base: Result | None, run: str, most: float) -> Callable[[Result], float | None]:
    """At 10,000 entities an absolute target; larger worlds cost at most 10 or 15 % more an entity, target and world."""

    def target(result: Result) -> float | None:
        if result["entities"] < 50_000:
            return most
        smallest = min(most, _cpu(run)(base)) if base else most
        return round(smallest * (1.10 if result["entities"] < 500_000 else 1.15), 3)

    return target


def _memory(result: Result) -> float:
    return float(max(result[run]["peak_mib"] for run in ("first", "second")))


def _memory_target(result: Result) -> float:
    return 150 if result["entities"] < 50_000 else 200 if result["entities"] < 500_000 else 400


def _start(name: str) -> Callable[[Result], float | None]:
    return lambda result: float(result["start"][name] / result["start"]["imports"]) if result.get("start") else None


def _asked(run: str, side: str) -> Callable[[Result], float]:
    return lambda result: _total(result, run, side) / float(result[run]["seconds"])

"""Reads a run's files with another implementation of HdrHistogram and checks summary.json against its schema."""

import bisect
import json
import pathlib
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
import jsonschema
import junitparser

folder, schema = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
summary = json.loads((folder / "summary.json").read_text())
jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(summary)

cases = [case for suite in junitparser.JUnitXml.fromfile(str(folder / "junit.xml")) for case in suite]
promised = len(summary["verification"]["checks"]) + len(summary["objectives"])
assert len(cases) == promised + 2, f"{len(cases)} test cases, {promised} promises and objectives"
assert not [case.name for case in cases if case.result and not case.is_skipped], "a run without fault has none here"


class Ranks:
    """How many requests lie in the buckets up to that of a value."""

    def __init__(self, histogram):
        self.histogram, self.values, self.upto = histogram, [], []
        for item in histogram.get_recorded_iterator():
            self.values.append(item.value_iterated_to)
            self.upto.append((self.upto or [0])[-1] + item.count_at_value_iterated_to)

    def bounds(self, value_us):
        """Requests in the buckets below that of the value, and including it."""
        at = bisect.bisect_right(self.values, self.histogram.get_highest_equivalent_value(int(value_us)))
        return ([0, 0] + self.upto)[at], ([0] + self.upto)[at]


def sums(log):
    total, reader = HdrHistogram(1, 3_600_000_000, 3), HistogramLogReader(str(log), HdrHistogram(1, 3_600_000_000, 3))
    seconds = 0
    while second := reader.get_next_interval_histogram():
        total.add(second)
        seconds += 1
    assert seconds > 0, f"{log} is empty"
    return total


def points(hgrm):
    rows = [line.split() for line in hgrm.read_text().splitlines()[2:] if not line.startswith("#")]
    # 1.001 ms times 1000 is a hair below 1001 us: rounded, or it would name the bucket below.
    return [(round(float(value) * 1000), float(quantile), int(count)) for value, quantile, count, *_ in rows]


checked = 0
for path, measured in summary["paths"].items():
    kinds = {path: measured["all"]} | {f"{path}.{name}": kind for name, kind in measured["outcomes"].items()}
    for name, kind in kinds.items():
        total = sums(folder / f"{name}.hlog")
        ranks = Ranks(total)
        assert total.get_total_count() == kind["count"], f"{name}: {total.get_total_count()} != {kind['count']}"
        # Implementations round ranks in their own ways, so ranks are compared, one request of tolerance.
        for key, quantile in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("max_us", 1.0)]:
            below, upto = ranks.bounds(kind["response"][key])
            rank = quantile * kind["count"]
            assert below <= rank + 1 and upto >= rank - 1, f"{name} {key}: rank {rank} is not in {below}..{upto}"
        for value_us, quantile, count in points(folder / f"{name}.hgrm"):
            _, upto = ranks.bounds(value_us)
            assert abs(upto - count) <= 1, f"{name}.hgrm at {quantile}: {count} here, {upto} there"
        assert count == kind["count"], f"{name}.hgrm ends at {count}"
        checked += 1
print(f"{checked} histograms agree")

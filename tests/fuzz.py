"""Hypothesis looks for files that do not end in a clear error: ``make fuzz``. Not part of ``make test``."""

import datetime
import sys
import tempfile
from pathlib import Path

import corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12)), max_size=6)


def look(folder, examples):
    """Change good files at random and read them: how many. The first that ends otherwise than it should is shown."""
    count = 0
    good = {name: path.read_bytes() for name, path in corpus.good(folder / "good").items()}
    header = (folder / "good" / "scan.hdr").read_bytes()

    @settings(max_examples=examples, deadline=5000, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(good)), CHANGES, st.floats(0, 1), st.booleans())
    def fuzz(name, changes, keep, cut):
        nonlocal count
        count += 1
        content = bytearray(good[name])
        for where, value in changes:
            at = int(where * len(content))
            content[at:at + len(value)] = value
        path = folder / name
        path.write_bytes(content[:int(keep * len(content))] if cut else content)
        path.with_suffix(".hdr").write_bytes(header)
        try:
            corpus.read(path)
        except (ValueError, FileNotFoundError) as error:
            assert name.partition(".")[0] in str(error)

    fuzz()
    return count


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "tools"))
    from found import note

    count = look(Path(tempfile.mkdtemp()), int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    note("fuzz", {"date": str(datetime.date.today()), "files": count})
    print(f"nothing found among {count} files")

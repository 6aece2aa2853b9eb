"""Quick tests first, so that a plain mistake shows at once; side by side, each process with its share of the cores."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:      # in a background job, whose children then go on
    signal.signal(signal.SIGINT, signal.default_int_handler)
if count := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # before torch is imported, and for the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(count))))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

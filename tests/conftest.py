"""Quick tests first, so that a plain mistake shows at once."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

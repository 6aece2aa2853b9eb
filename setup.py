"""What pyproject.toml cannot say: some of ``data/`` is part of the built package, as ``mrilab/data``.

Git holds these files once. A checkout, and an editable install of one, use them where they are.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# what `mrilab reconstruct` and the README's first example need; the rest comes from the release
FIRST = ("priors/diverse.safetensors", "priors/diverse.json", "scans/phantom_siemens.h5", "volumes/qtim_MRHead.h5")


class WithData(build_py):
    def run(self):
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)       # nothing of an earlier build
        super().run()
        if not self.editable_mode:
            for name in FIRST:
                target = Path(self.build_lib, "mrilab/data", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path("data", name), target)


setup(cmdclass={"build_py": WithData}, options={"build": {"build_base": "_build/wheel"}})

"""Make the shipped volumes from the packages' own files: crop above the eyes, drop the header, save.

    python data/build_volumes.py SOURCES        # SOURCES/<package>/<file>, as listed in data/README.md

Every head is cut above the eyes, so no face can be rebuilt, and nothing of the header but the voxel size
is kept. The cut would be a step in the image, which rings in k-space, so the outermost 6 mm of the box
fade to zero, as the edge of an excited slab does. Values become uint8 with a scale. The files' sizes and
SHA-256 go to mrilab/registry.json, from which `mrilab.datasets` checks them at every use.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np

from mrilab.references import fade
from mrilab.writing import atomic_path

HERE = Path(__file__).parent
REGISTRY = HERE.parent / "mrilab" / "registry.json"

QTIM = "Apache-2.0", "PyPI sdist qtim_tools 0.1.12, test_data_features/"
# name: (source file, box in right-anterior-superior axes, split, person, licence, source, what)
HEAD = "T1-weighted head, cropped above the eyes"
COLIN = ("colin27_ch2/ch2.nii.gz", "BSD-3-Clause",
         "Debian mricron-data 1.2.20211006+dfsg-4, templates/ch2.nii.gz")
VOLUMES = {
    "pycortex_S1": ("pycortex_S1/raw.nii.gz", np.s_[122:214, 18:234, 46:214], "train", "S1", "BSD-2-Clause",
                    "PyPI sdist pycortex 1.4.0, filestore/db/S1/anatomicals/raw.nii.gz", HEAD),
    "colin27_ch2": (COLIN[0], np.s_[100:178, 1:217, 0:180], "validation", "colin27", *COLIN[1:],
                    HEAD + "; the top, one person averaged over 27 scans"),
    "colin27_ch2_slab": (COLIN[0], np.s_[54:98, 1:217, 0:180], "validation", "colin27", *COLIN[1:],
                         HEAD + "; a slab that no training slice touches, for tuning"),
    "pyhrf_realdata": ("pyhrf_realdata/real_data_vol_4_regions_anatomy.nii.gz", np.s_[36:136, 0:189, 0:157],
                       "train", "pyhrf", "CeCILL-2", "PyPI sdist pyhrf 0.5.0.post1, python/pyhrf/datafiles/", HEAD),
    "ds000031_sub01": ("ds000031_sub01/ds000031_sub-01_ses-006_run-001_T1w.nii.gz", np.s_[160:254, 0:236, 0:186],
                       "train", "ds000031", "MIT", "PyPI sdist pydeface 2.1.0, tests/data/", HEAD),
    "qtim_MRHead": ("qtim_MRHead/MRHead.nii.gz", np.s_[136:232, 8:248, 5:125], "test", "MRHead", QTIM[0],
                    QTIM[1] + "MRHead.nii.gz", HEAD),
    "qtim_MRBrainTumor2": ("qtim_MRBrainTumor2/MRBrainTumor2.nii.gz", np.s_[52:130, 12:242, 30:210],
                           "shifted test", "BrainTumor2", QTIM[0], QTIM[1] + "MRBrainTumor2.nii.gz",
                           HEAD + "; after contrast agent, meningioma"),
    "mskt_knee_mese": ("mskt_knee_mese/knee_mese_8echo.nii.gz", np.s_[0:24, 0:256, 0:256], "shifted test", "knee",
                       "MIT", "PyPI sdist mskt 0.1.22 (pixels only)", "knee, 2D spin echo, first of 8 echoes"),
}


def build(name, sources):
    file, box, split, person, licence, source, what = VOLUMES[name]
    image = nibabel.as_closest_canonical(nibabel.load(sources / file))
    data = np.asarray(image.dataobj, dtype=np.float32)
    data = (data[..., 0] if data.ndim == 4 else data).transpose(2, 1, 0)[box]
    voxel_size = tuple(round(float(d), 4) for d in image.header.get_zooms()[2::-1])
    if person != "knee":
        data = data * fade(data.shape, voxel_size)
    scale = float(data.max()) / 255
    path = HERE / "volumes" / f"{name}.h5"
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as h5:
        h5.create_dataset("data", data=np.round(data / scale).astype(np.uint8), compression="gzip",
                          compression_opts=9, chunks=(8, *data.shape[1:]))
        info = dict(voxel_size=voxel_size, scale=scale, split=split, person=person, licence=licence,
                    source=source, description=what)
        h5.attrs.update(info)
    info.pop("scale")
    return dict(file=path.relative_to(HERE).as_posix(), sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                bytes=path.stat().st_size, kind="volume", shape=data.shape, **info)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, help="folder with one folder for each package")
    sources = parser.parse_args().sources
    registry = json.loads(REGISTRY.read_text()) if REGISTRY.exists() else {}
    (HERE / "volumes").mkdir(exist_ok=True)
    (HERE / "licences").mkdir(exist_ok=True)
    for name, (file, *_) in VOLUMES.items():
        registry[name] = build(name, sources)
        for licence in [*(sources / file).parent.glob("*__*"), *(sources / file).parent.glob("LICENSE.txt")]:
            shutil.copyfile(licence, HERE / "licences" / f"{Path(file).parent}.txt")
        print(name, registry[name]["shape"], registry[name]["bytes"])
    with atomic_path(REGISTRY) as temporary:
        temporary.write_text(json.dumps(registry, indent=1) + "\n")

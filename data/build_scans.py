"""Make the shipped recorded scan from the package's own file: Siemens raw data to ISMRMRD, nothing else.

    pip install twixtools==0.24                     # for this alone; nothing of the book needs it
    python data/build_scans.py SOURCES              # SOURCES/twixtools_gre/gre.dat, LICENSE

Lines, their order and their flags are the scanner's. Of the header only what an image needs is kept, and how it was
measured: no name, date, time stamp or serial number. The file's size and SHA-256 go to mrilab/registry.json.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import ismrmrd
import numpy as np

from mrilab.writing import atomic_path

HERE = Path(__file__).parent
REGISTRY = HERE.parent / "mrilab" / "registry.json"
FLAGS = {"FIRSTSCANINSLICE": ismrmrd.ACQ_FIRST_IN_SLICE, "LASTSCANINSLICE": ismrmrd.ACQ_LAST_IN_SLICE,
         "LASTSCANINCONCAT": ismrmrd.ACQ_LAST_IN_REPETITION, "LASTSCANINMEAS": ismrmrd.ACQ_LAST_IN_MEASUREMENT}


def header(protocol, frequency):
    """The XML header: field strength, grid, fields of view, echo and repetition time."""
    part, box = protocol["sSliceArray"]["asSlice"][0], protocol["sKSpace"]
    size, lines = int(box["lBaseResolution"]), int(box["lPhaseEncodingLines"])

    def space(n, fov):
        return (f"<matrixSize><x>{n}</x><y>{lines}</y><z>1</z></matrixSize><fieldOfView_mm><x>{fov}</x>"
                f"<y>{part['dPhaseFOV']}</y><z>{part['dThickness']}</z></fieldOfView_mm>")

    fov = part["dReadoutFOV"]
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><acquisitionSystemInformation>'
        "<systemVendor>SIEMENS</systemVendor><systemFieldStrength_T>"
        f"{protocol['sProtConsistencyInfo']['flNominalB0']:.3f}</systemFieldStrength_T><receiverChannels>2"
        "</receiverChannels></acquisitionSystemInformation><experimentalConditions><H1resonanceFrequency_Hz>"
        f"{frequency}</H1resonanceFrequency_Hz></experimentalConditions><encoding>"
        f"<encodedSpace>{space(2 * size, 2 * fov)}</encodedSpace><reconSpace>{space(size, fov)}</reconSpace>"
        f"<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{lines - 1}</maximum>"
        f"<center>{lines // 2}</center></kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory>"
        f"</encoding><sequenceParameters><TR>{protocol['alTR'][0] / 1000}</TR><TE>{protocol['alTE'][0] / 1000}</TE>"
        f"<flipAngle_deg>{protocol['adFlipAngleDegree'][0]}</flipAngle_deg></sequenceParameters></ismrmrdHeader>")


def directions(w, x, y, z):
    """Unit vectors of readout, phase and slice, of the quaternion in a line's header."""
    return ((1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
            (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
            (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)))


def build(source, path):
    import twixtools

    scan = twixtools.read_twix(str(source), parse_prot=True, verbose=False)[-1]
    protocol = scan["hdr"]["MeasYaps"]
    with atomic_path(path) as temporary:
        temporary.unlink()
        with ismrmrd.Dataset(str(temporary), mode="w") as file:
            file.write_xml_header(header(protocol, int(scan["hdr"]["Dicom"]["lFrequency"])).encode())
            for count, block in enumerate(scan["mdb"]):
                line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(block.data, np.complex64),
                                                      center_sample=int(block.mdh.CenterCol),
                                                      sample_time_us=protocol["sRXSPEC"]["alDwellTime"][0] / 2000)
                for flag in block.get_active_flags():
                    if flag in FLAGS:
                        line.setFlag(FLAGS[flag])
                line.scan_counter = count + 1
                line.idx.kspace_encode_step_1 = int(block.cLin)
                line.idx.user[5] = int(block.mdh.CenterLin)
                position, quaternion = (np.array(part, float) for part in place(block))
                line.position[:] = position
                line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = directions(*quaternion)
                file.append_acquisition(line)


def place(block):
    """Position in mm (left, posterior, superior) and quaternion, from the header of a line."""
    data = block.mdh.SliceData
    position = data.SlicePos
    return (position.Sag, position.Cor, position.Tra), data.Quaternion


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, help="folder with one folder for each package")
    source = parser.parse_args().sources / "twixtools_gre"
    path = HERE / "scans" / "phantom_siemens.h5"
    path.parent.mkdir(exist_ok=True)
    build(source / "gre.dat", path)
    shutil.copyfile(source / "LICENSE", HERE / "licences" / "twixtools_gre.txt")
    registry = json.loads(REGISTRY.read_text())
    registry[path.stem] = dict(
        file=path.relative_to(HERE).as_posix(), sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        bytes=path.stat().st_size, kind="scan", reader="raw.prepare", shape=[1, 160, 160], voxel_size=[4, 1.25, 1.25],
        split="test", person="phantom", licence="MIT", source="PyPI sdist twixtools 0.24, example_data/gre.dat",
        description="recorded at 3 T: a test phantom, gradient echo, one slice, two coils, no noise scan")
    with atomic_path(REGISTRY) as temporary:
        temporary.write_text(json.dumps(registry, indent=1) + "\n")
    print(path.stem, path.stat().st_size)

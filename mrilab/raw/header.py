"""The XML header of ISMRMRD, which fastMRI's files carry as well: the grid, the fields of view, the counters."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any


def read_header(xml: str, encoding: int = 0) -> dict[str, Any]:
    """Grid and fields of view of one of the encodings.

    Returns
    -------
    dict
        ``matrix``, ``fov``, ``recon_matrix``, ``recon_fov`` as ``(z, y, x)``; of the counters ``centre`` and
        ``limits``, both ``(z, y)``, None where the header is silent; ``trajectory``; ``calibration``, the mode of
        parallel imaging; ``vendor``; user parameters ``chop`` as ``(z, y)``.

    Examples
    --------
    >>> space = "<matrixSize><x>8</x><y>6</y><z>4</z></matrixSize>"
    >>> space += "<fieldOfView_mm><x>80</x><y>60</y><z>40</z></fieldOfView_mm>"
    >>> head = read_header(f"<h><encoding><encodedSpace>{space}</encodedSpace></encoding></h>")
    >>> head["matrix"], head["recon_fov"], head["centre"], head["trajectory"]
    ((4, 6, 8), (40.0, 60.0, 80.0), (None, None), 'cartesian')
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("header: found an XML document type, expected plain XML")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"header: found XML that does not parse ({error}), expected an ISMRMRD header") from None
    encodings = root.findall("{*}encoding")
    if len(encodings) <= encoding:
        raise ValueError(f"header: found no <encoding> number {encoding}, expected an ISMRMRD header")
    node = encodings[encoding]

    def triple(path: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
        found = [node.findtext(path + f"/{{*}}{axis}") for axis in "zyx"]
        try:
            values = tuple(kind(v) for v in found)      # type: ignore[arg-type]
        except (TypeError, ValueError):
            values = (0,)
        if not all(0 < v < float("inf") for v in values):
            name = path.replace("{*}", "")
            raise ValueError(f"header: found {name} = {found}, expected three positive numbers")
        return values

    def counter(axis: int, what: str) -> int | None:
        text = node.findtext(f"{{*}}encodingLimits/{{*}}kspace_encoding_step_{axis}/{{*}}{what}") or ""
        return int(text) if text.strip().isdigit() else None

    head: dict[str, Any] = {"matrix": triple("{*}encodedSpace/{*}matrixSize", int),
                            "fov": triple("{*}encodedSpace/{*}fieldOfView_mm", float)}
    recon = node.find("{*}reconSpace") is not None
    head["recon_matrix"] = triple("{*}reconSpace/{*}matrixSize", int) if recon else head["matrix"]
    head["recon_fov"] = triple("{*}reconSpace/{*}fieldOfView_mm", float) if recon else head["fov"]
    head["centre"] = tuple(counter(axis, "center") for axis in (2, 1))
    head["limits"] = tuple((counter(axis, "minimum"), counter(axis, "maximum")) for axis in (2, 1))
    head["trajectory"] = (node.findtext("{*}trajectory") or "cartesian").strip().lower()
    head["calibration"] = (node.findtext("{*}parallelImaging/{*}calibrationMode") or "").strip().lower()
    head["vendor"] = (root.findtext("{*}acquisitionSystemInformation/{*}systemVendor") or "").strip()
    user = {p.findtext("{*}name"): p.findtext("{*}value") for p in root.iter() if p.tag.endswith("userParameterLong")}
    # GE files of mridata.org: lines alternate in sign unless the parameter says they no longer do
    head["chop"] = tuple(user.get(name, "1") == "0" for name in ("ChopZ", "ChopY"))
    return head


def wanted_positions(head: dict[str, Any], size: int) -> int:
    """Positions along x inside the prescribed field of view.

    Examples
    --------
    >>> wanted_positions({"fov": (1, 1, 512), "recon_fov": (1, 1, 256)}, 320)
    160
    """
    return min(size, max(1, round(size * head["recon_fov"][2] / head["fov"][2])))

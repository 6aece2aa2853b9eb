"""The XML header of ISMRMRD, which fastMRI's files carry as well: the grid, the fields of view, the counters."""

import xml.etree.ElementTree as ElementTree


def read_header(xml):
    """Grid and fields of view of the first encoding.

    Returns
    -------
    dict
        ``matrix``, ``fov``, ``recon_matrix``, ``recon_fov`` as ``(z, y, x)``; ``centre`` of the counters
        ``(z, y)`` or None; ``trajectory``; user parameters ``chop`` as ``(z, y)``.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("header: found an XML document type, expected plain XML")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"header: found XML that does not parse ({error}), expected an ISMRMRD header") from None
    encoding = root.find("{*}encoding")
    if encoding is None:
        raise ValueError("header: found no <encoding>, expected an ISMRMRD header")

    def triple(path, kind):
        found = [encoding.findtext(path + f"/{{*}}{axis}") for axis in "zyx"]
        try:
            values = tuple(kind(v) for v in found)
        except (TypeError, ValueError):
            values = (0,)
        if not all(0 < v < float("inf") for v in values):
            name = path.replace("{*}", "")
            raise ValueError(f"header: found {name} = {found}, expected three positive numbers")
        return values

    head = {"matrix": triple("{*}encodedSpace/{*}matrixSize", int),
            "fov": triple("{*}encodedSpace/{*}fieldOfView_mm", float)}
    recon = encoding.find("{*}reconSpace") is not None
    head["recon_matrix"] = triple("{*}reconSpace/{*}matrixSize", int) if recon else head["matrix"]
    head["recon_fov"] = triple("{*}reconSpace/{*}fieldOfView_mm", float) if recon else head["fov"]
    centre = [encoding.findtext(f"{{*}}encodingLimits/{{*}}kspace_encoding_step_{i}/{{*}}center") for i in (2, 1)]
    head["centre"] = tuple(None if c is None else int(c) for c in centre)
    head["trajectory"] = (encoding.findtext("{*}trajectory") or "cartesian").strip().lower()
    user = {p.findtext("{*}name"): p.findtext("{*}value") for p in root.iter() if p.tag.endswith("userParameterLong")}
    # GE files of mridata.org: lines alternate in sign unless the parameter says they no longer do
    head["chop"] = tuple(user.get(name, "1") == "0" for name in ("ChopZ", "ChopY"))
    return head


def wanted_positions(head, size):
    """Positions along x inside the prescribed field of view."""
    return min(size, max(1, round(size * head["recon_fov"][2] / head["fov"][2])))

"""The explanatory drawings of the book, written as SVG: ``python tools/drawings.py [FOLDER]``.

One file serves everywhere: shown as a plain picture (Jupyter, GitHub) its mid-tone colours stand out from white and
from a dark ground alike; in the built pages ``book/_ext/inline_svg.py`` puts it into the page, where the style sheet
sets the colours to those of the theme. All are 400 units wide with letters of 13 or more, so that 520 pixels on a
desk show them at the size of the text, and a phone's 350 at 11 pixels or more. Blue is the scan and its data, orange
the prior.
"""

import math
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.sax.saxutils import escape

FIGURES = Path(__file__).parents[1] / "book/figures"
WIDTH = 400
PLANES = {"axial": "blue", "coronal": "orange", "sagittal": "green"}
COLOURS = {"ink": "#767676", "blue": "#2f7fc2", "orange": "#c46a1b", "green": "#3a8a4d"}
STYLE = "".join(
    f".drawing .{name}{{fill:var(--drawing-{name},{colour})}}"
    f".drawing .{name}-line{{fill:none;stroke:var(--drawing-{name},{colour});stroke-width:1.5;stroke-linecap:round;"
    "stroke-linejoin:round}" for name, colour in COLOURS.items()
) + ".drawing text{font:13px system-ui,sans-serif;text-anchor:middle}" \
    ".drawing .left{text-anchor:start}.drawing .soft{opacity:.55}.drawing .strong{stroke-width:2.5}" \
    ".drawing .dash{stroke-dasharray:4 4}"


# The pieces drawings are made of

def num(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, colour: str = "ink", more: str = "") -> str:
    return f'<text x="{num(x)}" y="{num(y)}" class="{colour} {more}">{escape(words)}</text>'.replace(' "', '"')


def path(d: str, colour: str = "ink", more: str = "", extra: str = "") -> str:
    return f'<path d="{d}" class="{colour}-line {more}"{extra}/>'.replace(' "', '"')


def line(points: Iterable[tuple[float, float]], colour: str = "ink", more: str = "", close: bool = False) -> str:
    d = "M" + "L".join(f"{num(x)} {num(y)}" for x, y in points) + "Z" * close
    return path(d, colour, more)


def rect(x: float, y: float, w: float, h: float, colour: str = "ink", fill: float = 0, more: str = "") -> str:
    """A frame, with a tint of its colour inside."""
    tint = f' style="fill:var(--drawing-{colour},{COLOURS[colour]});fill-opacity:{fill}"' if fill else ""
    place = f'x="{num(x)}" y="{num(y)}" width="{num(w)}" height="{num(h)}"'
    return f'<rect {place} rx="3" class="{colour}-line {more}"{tint}/>'


def ellipse(x: float, y: float, rx: float, ry: float, colour: str = "ink", more: str = "", turn: float = 0) -> str:
    turned = f' transform="rotate({num(turn)} {num(x)} {num(y)})"' if turn else ""
    return f'<ellipse cx="{num(x)}" cy="{num(y)}" rx="{num(rx)}" ry="{num(ry)}" class="{colour}-line {more}"{turned}/>'


def head_of_arrow(x: float, y: float, angle: float, colour: str = "ink", size: float = 8) -> str:
    corners = [(x - size * math.cos(angle + a), y - size * math.sin(angle + a)) for a in (-0.42, 0.42)]
    d = "".join(f"L{num(a)} {num(b)}" for a, b in corners)
    return f'<path d="M{num(x)} {num(y)}{d}Z" class="{colour}"/>'


def arrow(x: float, y: float, to_x: float, to_y: float, colour: str = "ink", more: str = "") -> str:
    angle = math.atan2(to_y - y, to_x - x)
    end = (to_x - 6 * math.cos(angle), to_y - 6 * math.sin(angle))
    return line([(x, y), end], colour, more) + head_of_arrow(to_x, to_y, angle, colour)


def dots(points: Iterable[tuple[float, float]], size: float, colour: str = "ink") -> str:
    d = "".join(f"M{num(x)} {num(y)}h0" for x, y in points)
    return path(d, colour, extra=f' style="stroke-width:{num(size)}"')


def grid(x: float, y: float, w: float, h: float, cell: float, colour: str, more: str = "") -> str:
    d = "".join(f"M{num(x + i * cell)} {num(y)}v{num(h)}" for i in range(round(w / cell) + 1))
    d += "".join(f"M{num(x)} {num(y + i * cell)}h{num(w)}" for i in range(round(h / cell) + 1))
    return path(d, colour, more, ' style="stroke-width:1"')


def cube(x: float, y: float, size: float, colour: str = "ink", more: str = "") -> str:
    """A box seen from its front, the right and above; x, y is the front's upper left corner."""
    s = 0.35 * size
    return (line([(x, y), (x + size, y), (x + size, y + size), (x, y + size)], colour, more, close=True)
            + line([(x, y), (x + s, y - s), (x + size + s, y - s), (x + size + s, y + size - s), (x + size, y + size)],
                   colour, more)
            + line([(x + size, y), (x + size + s, y - s)], colour, more))


def section(u: float, v: float, plane: str = "axial") -> float:
    """How bright a schematic head is at (u, v) between -1 and 1."""
    wide, high = {"axial": (0.78, 0.95), "coronal": (0.8, 0.88), "sagittal": (0.96, 0.86)}[plane]
    r, angle = math.hypot(u / wide, v / high), math.atan2(v, u)
    if r > 1:
        return 0
    if r > 0.82:
        return 0.85 if r > 0.91 else 0.1
    if plane == "sagittal":
        if math.hypot((u - 0.1) / 0.42, (v + 0.05) / 0.2) < 1 and v > -0.12 - 0.4 * (u - 0.1) ** 2:
            return 0.1
    elif math.hypot((abs(u) - 0.12) / 0.09, (v + 0.02) / 0.24) < 1:
        return 0.1
    elif abs(u) < 0.04 and (v < 0 or plane == "axial"):
        return 0.25
    return 1 if r < 0.6 + 0.13 * math.sin(9 * angle + 1) else 0.5


def sampled(columns: int, rows: int, plane: str = "axial", noise: float = 0, seed: int = 0) -> list[list[float]]:
    """The schematic head on a grid of voxels, each the mean of what it covers, with noise."""
    chance, fine = random.Random(seed), 4

    def mean(i: int, j: int) -> float:
        return sum(section(2 * (i + (a + 0.5) / fine) / columns - 1, 2 * (j + (b + 0.5) / fine) / rows - 1, plane)
                   for a in range(fine) for b in range(fine)) / fine**2

    return [[mean(i, j) + noise * chance.gauss(0, 1) for i in range(columns)] for j in range(rows)]


def mosaic(x: float, y: float, cell: float, values: list[list[float]], colour: str = "ink", more: str = "") -> str:
    """Voxels as squares of five strengths."""
    levels: dict[int, str] = {}
    for j, row in enumerate(values):
        i = 0
        while i < len(row):
            level, start = min(round(5 * abs(row[i])), 5), i
            while i < len(row) and min(round(5 * abs(row[i])), 5) == level:
                i += 1
            if level:
                levels[level] = levels.get(level, "") + f"M{start} {j}h{i - start}v1h-{i - start}z"
    where = f'transform="translate({num(x)} {num(y)}) scale({num(cell)})"' if not more else more
    return f"<g {where}>" + "".join(f'<path d="{d}" class="{colour}" fill-opacity="{level / 5 * 0.85:.2f}"/>'
                                    for level, d in sorted(levels.items())) + "</g>"


def mask_points(x: float, y: float, size: float, count: int, seed: int = 0) -> list[tuple[float, float]]:
    """Random points, denser in the middle and not too close: a hint of a mask, where its points do not matter."""
    chance = random.Random(seed)
    points: list[tuple[float, float]] = []
    for _ in range(4000):
        u, v = chance.uniform(-1, 1), chance.uniform(-1, 1)
        room = 0.05 + 0.17 * math.hypot(u, v)
        if math.hypot(u, v) < 1 and all(math.hypot(u - a, v - b) > room for a, b in points):
            points.append((u, v))
    return [(x + size * (1 + u) / 2, y + size * (1 + v) / 2) for u, v in points[:count]]


# The drawings: each returns its height, title, description and content

Drawing = tuple[float, str, str, str]
Point = tuple[float, float, float]


def noisy_slices(x: float, y: float, step: float) -> str:
    """A slice of each plane, noisy."""
    return "".join(mosaic(x + step * k + 2, y + 2, 2.6, sampled(16, 18, plane, 0.25, k))
                   + rect(x + step * k, y, 45, 51, colour) for k, (plane, colour) in enumerate(PLANES.items()))


def method() -> Drawing:
    """The whole method."""
    loops = "".join(ellipse(72 + 55 * math.cos(a), 74 + 62 * math.sin(a), 13, 4, "blue", turn=math.degrees(a) + 90)
                    for a in (math.pi * (k + 0.5) / 4 for k in range(8)))
    scan = loops + mosaic(34, 26, 4, sampled(19, 24)) + text(72, 160, "scan with coils", "blue")
    kspace = rect(262, 24, 100, 100, "blue", 0.06) + dots(mask_points(264, 26, 96, 130), 3.2, "blue") \
        + text(312, 160, "k-space: a part of it", "blue") + arrow(150, 74, 252, 74, "blue") \
        + text(201, 64, "measure", "blue")
    volume = cube(262, 232, 74, "blue", "strong") + mosaic(266, 235, 4.2, sampled(16, 17)) \
        + arrow(312, 168, 312, 198, "blue") + text(352, 188, "data", "blue") + text(306, 324, "volume")
    loop = noisy_slices(16, 212, 48) + text(86, 204, "slices of three planes") + arrow(252, 240, 168, 240) \
        + rect(36, 296, 100, 38, "orange", 0.12) + text(86, 320, "2D prior", "orange") + arrow(86, 266, 86, 292) \
        + path("M138 316Q200 316 249 297") + head_of_arrow(255, 294, -0.42) + text(194, 336, "denoised") \
        + text(210, 230, "draw")
    sizes = grid(66, 362, 40, 40, 5, "orange") + text(86, 424, "voxel size", "orange") \
        + text(86, 441, "in training", "orange") + grid(286, 362, 40, 40, 10, "blue") \
        + text(306, 424, "voxel size", "blue") + text(306, 441, "of the scan", "blue") \
        + path("M86 338v16", "orange", "dash") + path("M306 330v24", "blue", "dash") \
        + text(196, 378, "What if they") + text(196, 395, "differ?")
    return (450, "The method in one picture",
            "A scan with several coils measures part of k-space, and the data constrain a volume. Slices of three "
            "planes are drawn from the volume, denoised by a 2D prior and put back. The prior knows the voxel size "
            "of its training, a fine grid; the volume has the voxel size of the scan, here a coarser one.",
            scan + kspace + volume + loop + sizes)


def planes() -> Drawing:
    """Three planes through one volume."""
    n, x0, y0, s, deep = 20, 18, 86, 130, 0.42

    def at(x: float, y: float, z: float) -> tuple[float, float]:
        return x0 + s * (x + deep * y), y0 + s * (1 - z - 0.5 * deep * y)

    def plane(name: str, corner: Point, right: Point, below: Point, colour: str) -> str:
        (a, b), (c, d), (e, f) = at(*corner), at(*right), at(*below)
        wide, high = ({"axial": (0.39, 0.475), "coronal": (0.4, 0.44), "sagittal": (0.48, 0.43)})[name]
        rings = ""
        for share in (1, 0.82):
            turns = [2 * math.pi * k / 36 for k in range(36)]
            around = [(0.5 + share * wide * math.cos(t), 0.5 + share * high * math.sin(t)) for t in turns]
            rings += line([(a + u * (c - a) + v * (e - a), b + u * (d - b) + v * (f - b)) for u, v in around], colour,
                          close=True)
        return line([(a, b), (c, d), (c + e - a, d + f - b), (e, f)], colour, "strong", close=True).replace(
            "/>", f' style="fill:var(--drawing-{colour},{COLOURS[colour]});fill-opacity:.13"/>') + rings

    faces = [[(x, y, z) for x, z in ((0, 0), (1, 0), (1, 1), (0, 1))] for y in (0, 1)]
    box = "".join(line([at(*p) for p in face], "ink", "soft", close=True) for face in faces)
    box += "".join(line([at(*a), at(*b)], "ink", "soft") for a, b in zip(*faces))
    inside = plane("coronal", (0, 0.5, 1), (1, 0.5, 1), (0, 0.5, 0), "orange") \
        + plane("sagittal", (0.5, 0, 1), (0.5, 1, 1), (0.5, 0, 0), "green") \
        + plane("axial", (0, 1, 0.5), (1, 1, 0.5), (0, 0, 0.5), "blue")
    rows = ""
    for k, (name, colour) in enumerate(PLANES.items()):
        y = 8 + 86 * k
        rows += mosaic(236, y, 3.7, sampled(n, n, name), colour) + rect(233, y - 3, 80, 80, colour) \
            + text(322, y + 36, name, colour, "left") + text(322, y + 53, f"across {'zyx'[k]}", "ink", "left")
    return (262, "Slices of three planes out of one volume",
            "A box with three planes through its middle, each with a section of a head: axial, lying, across z; "
            "coronal, facing the reader, across y; sagittal, from front to back, across x. The three slices stand "
            "beside it.",
            box + inside + text(110, 240, "one volume") + rows)


def grids() -> Drawing:
    """Two grids of one object."""
    folds = "M176 30q10 8 4 18q-8 10 2 20M224 30q-10 8-4 18q8 10-2 20M192 46q-6 12 2 22M208 46q6 12-2 22"
    obj = ellipse(200, 56, 38, 46, "ink", "strong") + path("M200 14v22M200 76v22" + folds) \
        + text(326, 46, "one object, given by") + text(326, 64, "parameters θ")
    left = mosaic(30, 182, 14, sampled(10, 12)) + grid(30, 182, 140, 168, 14, "blue") \
        + arrow(166, 92, 108, 146, "blue") + text(88, 118, "G(θ)", "blue") \
        + text(100, 172, "grid of the scan", "blue") + text(100, 372, "compare with", "blue") \
        + text(100, 389, "the data y", "blue")
    right = mosaic(230, 182, 7, sampled(20, 24)) + grid(230, 182, 140, 168, 7, "orange") \
        + arrow(234, 92, 292, 146, "orange") + text(310, 118, "P(θ)", "orange") \
        + text(300, 172, "grid of the prior", "orange") + text(300, 372, "denoise slices", "orange") \
        + text(300, 389, "at the size it knows", "orange")
    return (398, "One object on two grids",
            "An object described by parameters theta is evaluated twice: as G of theta on the coarse grid of the "
            "scan, where it is compared with the data, and as P of theta on the finer grid of the prior, which "
            "denoises its slices.",
            obj + left + right)


def noising() -> Drawing:
    """The chain of noise levels, and the denoiser."""
    n, levels = 16, (0, 0.15, 0.5, 1.5)
    row = ""
    for k, sigma in enumerate(levels):
        x = 10 + 100 * k
        values = sampled(n, 18, noise=sigma, seed=3)
        row += mosaic(x, 45, 5, values) + rect(x - 2, 44, 84, 92) + text(x + 40, 156, f"σ = {sigma:g}")
    chain = arrow(20, 26, 380, 26) + text(200, 18, "add noise") + arrow(380, 176, 20, 176, "orange") \
        + text(200, 196, "many small steps, each towards what D returns", "orange")
    noisy = mosaic(22, 231, 5, sampled(n, 18, noise=0.5, seed=3)) + rect(20, 230, 84, 92) + text(62, 342, "x, σ = 0.5")
    soft = [[sum(row[max(i - 1, 0):i + 2]) / 3 for i in range(n)] for row in sampled(n, 18)]
    soft = [[sum(soft[min(max(j + a, 0), 17)][i] for a in (-1, 0, 1)) / 3 for i in range(n)] for j in range(18)]
    once = noisy + arrow(114, 276, 152, 276, "orange") + rect(158, 250, 84, 52, "orange", 0.12) \
        + text(200, 272, "denoiser", "orange") + text(200, 290, "D(x; σ)", "orange") \
        + arrow(248, 276, 286, 276, "orange") + mosaic(298, 231, 5, soft) + rect(296, 230, 84, 92, "orange") \
        + text(338, 342, "the mean of all", "orange") + text(338, 359, "possible slices", "orange")
    return (368, "Noise, and the denoiser",
            "Four times the same slice with more and more noise, until nothing of it is to be seen; many small "
            "steps of a denoiser lead back. Below, one call: the denoiser D takes a noisy slice and its noise level "
            "sigma, and returns the mean of all clean slices it could be, which is blurred.",
            row + chain + once)


def gradients() -> Drawing:
    """A walk through k-space, line by line."""
    x, y, w, lines, now = 120, 26, 200, 9, 5
    frame = path(f"M{x + w / 2} {y - 8}v{w + 16}M{x - 8} {y + w / 2}h{w + 16}", "ink", "soft") \
        + text(x + w + 22, y + w / 2 + 5, "kx", "blue") + text(x + w / 2 + 16, y - 4, "ky", "orange")
    for k in range(lines):
        level = y + w - (k + 0.5) * w / lines
        points = [(x + 8 + i * (w - 16) / 15, level) for i in range(16)]
        if k < now:
            frame += dots(points, 3.4)
        elif k > now:
            frame += path(f"M{x + 8} {num(level)}h{w - 16}", "ink", "soft dash")
        else:
            frame += dots(points, 5.5, "blue") + arrow(x + 8, level, x + w - 2, level, "blue")
            top = level
    middle = (x + w / 2, y + w / 2)
    frame += arrow(*middle, x + 10, middle[1], "ink") + arrow(x + 8, middle[1], x + 8, top + 5, "orange", "strong")
    frame += text(56, top - 8, "one line", "blue") + text(56, top + 9, "in one go", "blue") \
        + text(56, y + w - 38, "measured") + text(56, y + w - 21, "before") \
        + text(56, y + 18, "still to") + text(56, y + 35, "come")
    base = 300
    steps = "".join(path(f"M112 {base}l6 {num(-h)}h22l6 {num(h)}", "orange", "soft") for h in range(-24, 25, 8) if h)
    waves = path(f"M100 {base}h12M146 {base}h174", "orange") + steps \
        + path(f"M112 {base}l6 -8h22l6 8", "orange", "strong") \
        + path(f"M100 {base + 66}h12l6 26h22l6 -26h28l6 -12h114l6 12h20", "blue", "strong") \
        + text(52, base - 3, "gradient", "orange") + text(52, base + 14, "along y", "orange") \
        + text(52, base + 63, "gradient", "blue") + text(52, base + 80, "along x", "blue")
    read = dots([(184.5 + 7 * i, base + 42) for i in range(16)], 3.4, "blue") \
        + text(238, base + 34, "samples", "blue") + arrow(100, base + 108, 330, base + 108) \
        + text(352, base + 112, "time")
    return (422, "Gradients walk through k-space",
            "A square of k-space with nine lines. A pulse of the gradient along y moves from the centre to one "
            "line; then the gradient along x walks along it from left to right while samples are taken. Lines below "
            "are done, those above still to come. Beneath, the two gradients over time: the pulse along y has "
            "another height for each line.",
            frame + waves + read)


def coils() -> Drawing:
    """Rings of loops around a head."""
    above = mosaic(52, 52, 4.6, sampled(20, 25))
    for k in range(8):
        a = math.pi * (k + 0.5) / 4
        colour = "blue" if k == 6 else "ink"
        above += ellipse(98 + 76 * math.cos(a), 110 + 84 * math.sin(a), 33, 6, colour, "strong" if k == 6 else "",
                         math.degrees(math.atan2(math.sin(a) / 84, math.cos(a) / 76)) + 90)
    hears = "".join(f'<ellipse cx="127" cy="32" rx="{r}" ry="{r}" class="blue" fill-opacity=".13" '
                    f'clip-path="url(#coils-head)"/>' for r in (28, 46, 66, 88))
    clip = '<clipPath id="coils-head"><ellipse cx="98" cy="110" rx="36" ry="55"/></clipPath>'
    front = mosaic(256, 38, 4.4, sampled(20, 30, "coronal"))
    for y, azimuths in ((72, (-72, -36, 0, 36, 72)), (128, (-54, -18, 18, 54))):
        for a in map(math.radians, azimuths):
            marked = (y, round(math.degrees(a))) == (72, 36)
            front += ellipse(300 + 76 * math.sin(a), y, 27 * math.cos(a), 31, "blue" if marked else "ink",
                             "strong" if marked else "")
    words = text(98, 228, "one ring, from above") + text(300, 228, "rings, from the front") \
        + text(200, 254, "Each loop receives most from what lies near.", "blue")
    return (264, "Coils around a head",
            "Left, a head from above with eight loops around it; one is marked, and a tint in the head shows what "
            "it receives: most from the tissue near it. Right, the head from the front with two rings of "
            "overlapping loops.",
            clip + above + hears + front + words)


def loop() -> Drawing:
    """The solver's loop."""
    volume = cube(40, 62, 70) + mosaic(43, 65, 4, sampled(16, 16)) + text(76, 154, "volume x")
    first = volume + noisy_slices(238, 50, 50) + arrow(148, 76, 228, 76) + text(188, 66, "draw") \
        + text(310, 26, "random slices") + text(310, 43, "of three planes")
    denoise = rect(250, 150, 122, 52, "orange", 0.12) + text(311, 172, "denoise at", "orange") \
        + text(311, 190, "noise level σ", "orange") + arrow(311, 106, 311, 144)
    back = cube(276, 268, 60, "orange") + mosaic(279, 271, 3.6, sampled(15, 15)) + arrow(311, 206, 311, 240, "orange") \
        + text(310, 348, "z: slices put back", "orange")
    data = rect(18, 250, 172, 78, "blue", 0.08) + text(104, 272, "conjugate gradients", "blue") \
        + text(104, 292, "towards the data y", "blue") + text(104, 314, "and towards z", "orange") \
        + arrow(266, 290, 196, 290, "orange") + arrow(76, 246, 76, 164, "blue") + text(122, 208, "new x", "blue")
    base, steps = 440, 8
    heights = [52 * (0.7 ** k) for k in range(steps)]
    stairs = "M60 " + num(base - heights[0]) + "".join(
        f"H{60 + 36 * (k + 1)}" + (f"V{num(base - heights[k + 1])}" if k + 1 < steps else "") for k in range(steps))
    falling = path(stairs, "orange", "strong") + arrow(60, base, 362, base) + text(42, base - 40, "σ", "orange") \
        + text(208, base + 20, "once around for each step: σ falls") + path("M18 368h364", "ink", "soft dash")
    return (468, "The solver's loop",
            "A cycle. Random slices of three planes are drawn from the volume x, denoised at noise level sigma and "
            "put back, which gives z. A few steps of conjugate gradients move x towards the data y and towards z, "
            "and the cycle begins again. Below, a staircase: sigma falls from one turn to the next.",
            first + denoise + back + data + falling)


def unet() -> Drawing:
    """The five levels of the U-Net."""
    widths, left, right = (32, 32, 48, 64, 96), [], []
    content = text(84, 20, "noisy slice, and σ") + text(316, 20, "clean slice", "orange")
    for k, channels in enumerate(widths):
        y, tall, thick = 40 + 66 * k, 46 / 1.32**k, 10 + channels / 5
        x = 70 + 26 * k
        sides = [(x, "ink"), (WIDTH - x, "orange")] if k < 4 else [(200, "ink")]
        for place, colour in sides:
            content += rect(place - thick / 2, y, thick, tall, colour, 0.18)
        left.append((x, y, tall, thick))
        right.append((WIDTH - x, y, tall, thick))
        if k < 4:
            content += arrow(x + thick / 2 + 5, y + tall / 2, WIDTH - x - thick / 2 - 5, y + tall / 2, "ink", "dash")
            content += text(200, y + tall / 2 - 7, f"{channels} channels")
        else:
            content += text(200, y + tall + 18, f"{channels} channels, 1/16 along each side")
    for k in range(4):
        to = 200 if k == 3 else left[k + 1][0]
        content += arrow(left[k][0], left[k][1] + left[k][2] + 3, to - 4 * (k == 3), left[k + 1][1] - 3)
        frm = 200 if k == 3 else right[k + 1][0]
        content += arrow(frm + 4 * (k == 3), right[k + 1][1] - 3, right[k][0], right[k][1] + right[k][2] + 3, "orange")
    content += text(42, 150, "half the") + text(42, 167, "size at") + text(42, 184, "each step") \
        + text(358, 150, "twice the", "orange") + text(358, 167, "size at", "orange") \
        + text(358, 184, "each step", "orange")
    content += arrow(84, 26, 74, 37) + arrow(326, 37, 318, 26, "orange")
    return (368, "The U-Net",
            "Five levels in the form of a U, with 32, 32, 48, 64 and 96 channels. On the way down, left, the slice "
            "is halved in size from level to level; on the way up, right, it is doubled. Dashed arrows carry each "
            "level across to the other side.",
            content)


def mask() -> Drawing:
    """The points of a mask."""
    from mrilab.masks import poisson_disc_mask

    rows, columns, block, cell, x, y = 64, 64, 12, 4.8, 62, 16
    found = poisson_disc_mask((rows, columns), acceleration=8, calibration=block)
    points = [(x + (i + 0.5) * cell, y + (j + 0.5) * cell) for j, i in found.nonzero().tolist()]
    side, start = block * cell, (rows - block) / 2 * cell
    return (382, "A Poisson-disc mask",
            "Points of a mask over kz and ky, an eighth of all positions: dense in the middle, sparse towards the "
            "edge, random but nowhere clumped. A square block in the centre is complete; the corners are empty.",
            rect(x, y, columns * cell, rows * cell) + dots(points, 3.6, "blue")
            + rect(x + start - 1, y + start - 1, side + 2, side + 2, "orange", 0.15, "strong")
            + text(x + columns * cell / 2, 346, "ky") + text(44, y + rows * cell / 2, "kz")
            + text(200, 372, "calibration block: complete", "orange"))


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "method": method, "planes": planes, "grids": grids, "noising": noising, "gradients": gradients, "coils": coils,
    "loop": loop, "unet": unet, "mask": mask}


def svg(name: str) -> str:
    """One drawing as a file."""
    height, title, description, content = DRAWINGS[name]()
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {num(height)}" width="520" '
            f'height="{num(1.3 * height)}" class="drawing" role="img" aria-labelledby="{name}-title {name}-desc">\n'
            f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(description)}</desc>\n'
            f"<style>{STYLE}</style>\n{content.replace('><', chr(62) + chr(10) + chr(60))}\n</svg>\n")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES
    for name in DRAWINGS:
        (folder / f"drawing_{name}.svg").write_text(svg(name))


if __name__ == "__main__":
    main()

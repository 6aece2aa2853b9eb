// Centred orthonormal 2D Fourier transform of any size, as mrilab.fourier: split real and imaginary Float64Arrays.

const plans = new Map();

function plan(n) {
  if (!plans.has(n)) {
    const radices = [];
    for (let rest = n, r = 4; rest > 1; ) {
      if (rest % r === 0) { radices.push(r); rest /= r; } else r = r === 4 ? 2 : r === 2 ? 3 : r + 2;
    }
    const angle = -2 * Math.PI / n;
    plans.set(n, {
      radices,
      cos: Float64Array.from({ length: n }, (_, i) => Math.cos(angle * i)),
      sin: Float64Array.from({ length: n }, (_, i) => Math.sin(angle * i)),
    });
  }
  return plans.get(n);
}

// Stockham's algorithm on the row of n values that begins at base; it ends in the second pair of arrays when the
// number of radices is odd.
function transformRow([ar, ai, br, bi], n, base, { radices, cos, sin }) {
  let length = n, s = 1, turn = 1;
  for (const r of radices) {
    const m = length / r, jump = s * m;
    for (let p = 0; p < m; p++) {
      const from = base + s * p, to = base + s * r * p;
      if (r === 4) {
        const c1 = cos[p * turn], s1 = sin[p * turn], c2 = cos[2 * p * turn], s2 = sin[2 * p * turn];
        const c3 = cos[3 * p * turn], s3 = sin[3 * p * turn];
        for (let q = 0; q < s; q++) {
          const a = from + q, b = a + jump, c = b + jump, d = c + jump, o = to + q;
          const er = ar[a] + ar[c], ei = ai[a] + ai[c], fr = ar[a] - ar[c], fi = ai[a] - ai[c];
          const gr = ar[b] + ar[d], gi = ai[b] + ai[d], hr = ai[b] - ai[d], hi = ar[d] - ar[b];
          br[o] = er + gr;
          bi[o] = ei + gi;
          let x = fr + hr, y = fi + hi;
          br[o + s] = x * c1 - y * s1;
          bi[o + s] = x * s1 + y * c1;
          x = er - gr; y = ei - gi;
          br[o + 2 * s] = x * c2 - y * s2;
          bi[o + 2 * s] = x * s2 + y * c2;
          x = fr - hr; y = fi - hi;
          br[o + 3 * s] = x * c3 - y * s3;
          bi[o + 3 * s] = x * s3 + y * c3;
        }
      } else {
        for (let j = 0; j < r; j++) {
          const o = to + j * s;
          br.fill(0, o, o + s);
          bi.fill(0, o, o + s);
          for (let k = 0; k < r; k++) {
            const w = (j * k * (n / r) + j * p * turn) % n, c = cos[w], d = sin[w], i = from + k * jump;
            for (let q = 0; q < s; q++) {
              br[o + q] += ar[i + q] * c - ai[i + q] * d;
              bi[o + q] += ar[i + q] * d + ai[i + q] * c;
            }
          }
        }
      }
    }
    [ar, ai, br, bi] = [br, bi, ar, ai];
    length = m;
    s *= r;
    turn *= r;
  }
}

function transformRows([ar, ai, br, bi], n) {
  const steps = plan(n);
  for (let base = 0; base < ar.length; base += n) transformRow([ar, ai, br, bi], n, base, steps);
  return steps.radices.length % 2 ? [br, bi, ar, ai] : [ar, ai, br, bi];
}

// in tiles, which stay in the processor's cache
function transpose(from, to, height, width) {
  for (let top = 0; top < height; top += 16) {
    for (let left = 0; left < width; left += 16) {
      const bottom = Math.min(top + 16, height), right = Math.min(left + 16, width);
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) to[x * height + y] = from[y * width + x];
      }
    }
  }
}

// Position i goes to (i + shift) modulo the size, along both axes.
function roll(from, to, height, width, down, across, scale = 1) {
  for (let y = 0; y < height; y++) {
    const row = (y + down) % height * width, y0 = y * width;
    for (let x = 0; x < width; x++) to[row + (x + across) % width] = scale * from[y0 + x];
  }
}

// Image to k-space, or back with inverse = true; returns { re, im, height, width }, the arguments stay as they are.
function fft2c({ re, im, height, width }, inverse = false) {
  const n = height * width, half = v => v - (v >> 1), scale = 1 / Math.sqrt(n);
  let [ar, ai, br, bi] = [0, 1, 2, 3].map(() => new Float64Array(n));
  roll(re, ar, height, width, half(height), half(width));
  if (im) roll(im, ai, height, width, half(height), half(width), inverse ? -1 : 1);
  [ar, ai, br, bi] = transformRows([ar, ai, br, bi], width);
  transpose(ar, br, height, width);
  transpose(ai, bi, height, width);
  [br, bi, ar, ai] = transformRows([br, bi, ar, ai], height);
  transpose(br, ar, width, height);
  transpose(bi, ai, width, height);
  roll(ar, br, height, width, height >> 1, width >> 1, scale);
  roll(ai, bi, height, width, height >> 1, width >> 1, inverse ? -scale : scale);
  return { re: br, im: bi, height, width };
}

// The centre of k-space, which is what a scan at a coarser voxel size measures.
function crop({ re, im, height, width }, newHeight, newWidth) {
  const top = (height >> 1) - (newHeight >> 1), left = (width >> 1) - (newWidth >> 1);
  const part = values => {
    const out = new Float64Array(newHeight * newWidth);
    for (let y = 0; y < newHeight; y++) {
      const start = (y + top) * width + left;
      out.set(values.subarray(start, start + newWidth), y * newWidth);
    }
    return out;
  };
  return { re: part(re), im: part(im), height: newHeight, width: newWidth };
}

const magnitude = ({ re, im }, scale = 1) => re.map((v, i) => scale * Math.hypot(v, im[i]));

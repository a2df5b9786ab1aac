// Attention as `surgeon` computes it, on numbers that surgeon/instruments/operating.py draws too, and its vital signs.
// Nothing here knows a page. Matrices go row by row.

export const MOST_WORDS = 32;
export const WIDEST = 1024;
const D_V = 4; // of drawn values
export const PRECISIONS = ["float16", "float32", "float64"];
export const MASKS = ["none", "causal", "reverse", "padding", "front"];

// The n-th number of a seed's stream, in (0, 1): mulberry32, whose state after n steps is known without taking them.
export function uniform(seed, n) {
  const a = (seed + Math.imul(n + 1, 0x6d2b79f5)) | 0;
  let t = Math.imul(a ^ (a >>> 15), 1 | a);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
}

// Standard normal numbers, two from each two uniform ones (Box and Muller).
export function normal(seed, n) {
  const even = n & ~1;
  const radius = Math.sqrt(-2 * Math.log(uniform(seed, even)));
  const angle = 2 * Math.PI * uniform(seed, even + 1);
  return radius * (n & 1 ? Math.sin(angle) : Math.cos(angle));
}

// Equal words have equal vectors; a wider vector begins like a narrower one; a further word changes nothing before it.
export function draw(words, d_k, seed) {
  const T = words.length;
  const matrix = (which, width) => {
    const x = new Float64Array(T * width);
    for (let i = 0; i < T; i++) {
      const word = words.indexOf(words[i]);
      if (word < i) x.copyWithin(i * width, word * width, (word + 1) * width);
      else for (let c = 0; c < width; c++) x[i * width + c] = normal(seed, which + 3 * (i + MOST_WORDS * c));
    }
    return x;
  };
  return { T, d_k, Q: matrix(0, d_k), K: matrix(1, d_k), V: matrix(2, D_V) };
}

// 1 where query i may look at key j. `padded` words at the end, or at the front, are no words.
export function permissions(mask, T, padded = 0) {
  const open = {
    none: () => true,
    causal: (i, j) => j <= i,
    reverse: (i, j) => j >= i,
    padding: (i, j) => j < T - padded,
    front: (i, j) => j <= i && j >= padded,
  }[mask];
  return Uint8Array.from({ length: T * T }, (_, n) => Number(open(Math.floor(n / T), n % T)));
}

// The nearest number that a format can write; ties go to the even one.
function half(x) {
  const size = Math.abs(x);
  if (!(size < 65520)) return x !== x ? x : x > 0 ? Infinity : -Infinity;
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  const magic = 6755399441055744; // 1.5 · 2^52: no fraction fits
  return (x / step + magic - magic) * step;
}
export const ROUND = { float16: (x) => half(Math.fround(x)), float32: Math.fround, float64: (x) => x };

// One row: the powers, what they are divided by, the weights. `low` is the row's format, `wide` the one it is added up in.
function softmax(row, stable, low) {
  const round = ROUND[low];
  const wide = ROUND[low === "float64" ? low : "float32"];
  const scores = row.map(round);
  let top = 0;
  if (stable) {
    top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    if (top === -Infinity) top = 0;
  }
  const kept = stable ? wide : round; // the naive form knows one format only
  const powers = scores.map((s) => kept(wide(Math.exp(wide(s - top)))));
  const sum = kept(powers.reduce((a, b) => wide(a + b), 0));
  const total = stable && sum === 0 ? 1 : sum;
  return { top, total, powers, weights: powers.map((p) => round(wide(p / total))) };
}

// All queries, all keys.
function products({ T, d_k, Q, K }) {
  const scores = new Float64Array(T * T);
  for (let n = 0; n < T * T; n++) {
    const [q, k] = [Math.floor(n / T) * d_k, (n % T) * d_k];
    let sum = 0;
    for (let c = 0; c < d_k; c++) sum += Q[q + c] * K[k + c];
    scores[n] = sum;
  }
  return scores;
}

// Every stage. Scores, scale and mask are float64; softmax reads and writes `precision`. Inputs keep their scores.
export function operate(inputs, open, { scale, stable, temperature, precision }) {
  const { T, d_k, V } = inputs;
  const n = T * T;
  const d_v = V.length / T;
  const scores = (inputs.scores ||= products(inputs));
  const divisor = scale ? Math.sqrt(d_k) : 1;
  const scaled = scores.map((s) => s / divisor / temperature);
  const masked = scaled.map((s, at) => (open[at] ? s : -Infinity));
  const powers = new Float64Array(n);
  const weights = new Float64Array(n);
  const tops = new Float64Array(T);
  const totals = new Float64Array(T);
  const output = new Float64Array(T * d_v);
  for (let i = 0; i < T; i++) {
    const row = softmax(masked.subarray(i * T, (i + 1) * T), stable, precision);
    powers.set(row.powers, i * T);
    weights.set(row.weights, i * T);
    [tops[i], totals[i]] = [row.top, row.total];
    for (let c = 0; c < d_v; c++) {
      for (let j = 0; j < T; j++) output[i * d_v + c] += row.weights[j] * V[j * d_v + c];
    }
  }
  return { scores, scaled, masked, powers, tops, totals, weights, output };
}

// ‖diag(a) − aaᵀ‖, Frobenius; 1 − a as the sum of the others, in which nothing cancels.
export function jacobianSize(a) {
  let square = 0;
  for (let i = 0; i < a.length; i++) {
    let others = 0;
    for (let j = 0; j < a.length; j++) {
      if (j === i) continue;
      others += a[j];
      square += (a[i] * a[j]) ** 2;
    }
    square += (a[i] * others) ** 2;
  }
  return Math.sqrt(square);
}

function median(numbers) {
  if (!numbers.length) return NaN;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

// A row that sees nothing is empty; one whose weights are not numbers, or do not add up although it sees something, is
// broken. The rest is measured: largest weight and gradient as medians over the rows that have a choice.
export function vitalSigns(weights, open, T) {
  const largest = [];
  const gradients = [];
  let [entropy, most, live, mass, future, empty, broken] = [0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < T; i++) {
    const a = weights.subarray(i * T, (i + 1) * T);
    const seen = open.subarray(i * T, (i + 1) * T).reduce((x, y) => x + y, 0);
    const sum = a.reduce((x, y) => x + y, 0);
    if (!seen) empty++;
    if (sum !== sum || (seen && Math.abs(sum - 1) > 0.01)) broken++;
    else if (seen) {
      live++;
      most += Math.log(seen);
      mass += sum;
      for (let j = 0; j < T; j++) {
        if (a[j] > 0) entropy -= (a[j] / sum) * Math.log(a[j] / sum);
        if (j > i) future += a[j];
      }
      if (seen > 1) {
        largest.push(a.reduce((x, y) => Math.max(x, y), 0));
        gradients.push(jacobianSize(a.map((weight) => weight / sum)));
      }
    }
  }
  return {
    largest: median(largest),
    entropy: live ? Math.max(entropy, 0) / live : NaN,
    evenness: most > 0 ? Math.max(entropy, 0) / most : NaN,
    gradient: median(gradients),
    future: mass > 0 ? future / mass : NaN,
    empty,
    broken,
  };
}

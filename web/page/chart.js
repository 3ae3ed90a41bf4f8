// Draws curves on a canvas. A curve may have any number of points; they are grouped in at most 400 buckets.

const BUCKETS = 400;

/** The points of a curve, grouped in buckets of equal width. A bucket has the mean, the least and the largest value. */
export class Series {
  constructor() {
    this.size = 1;
    this.buckets = [];
    this.last = null;
  }

  push(x, y) {
    // Ignore steps that are already drawn: a training resumed from a snapshot repeats some steps.
    if (x <= this.last?.x) return;
    this.last = { x, y };
    const index = Math.floor(x / this.size);
    const bucket = this.buckets.at(-1);
    if (bucket?.index === index) {
      bucket.sum += y;
      bucket.count += 1;
      bucket.least = Math.min(bucket.least, y);
      bucket.largest = Math.max(bucket.largest, y);
      return;
    }
    this.buckets.push({ index, sum: y, count: 1, least: y, largest: y });
    if (this.buckets.length > BUCKETS) this.#merge();
  }

  #merge() {
    this.size *= 2;
    const merged = [];
    for (const bucket of this.buckets) {
      const index = Math.floor(bucket.index / 2);
      const before = merged.at(-1);
      if (before?.index === index) {
        before.sum += bucket.sum;
        before.count += bucket.count;
        before.least = Math.min(before.least, bucket.least);
        before.largest = Math.max(before.largest, bucket.largest);
      } else {
        merged.push({ ...bucket, index });
      }
    }
    this.buckets = merged;
  }

  points() {
    return this.buckets.map(({ index, sum, count, least, largest }) => (
      { x: (index + 0.5) * this.size - 0.5, y: sum / count, least, largest }));
  }
}

/** Sets the resolution of a canvas to its size on the screen. Returns the context, and the size in CSS pixels. */
export function fitted(canvas) {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Returns a color of the style sheet, for the current theme. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const short = (x) => (x >= 1e6 ? `${+(x / 1e6).toFixed(2)}M` : x >= 1e4 ? `${+(x / 1e3).toFixed(1)}k` : `${x}`);

/** Returns axis ticks: round numbers that divide 0…end into three to six parts. */
function ticks(end) {
  const rough = end / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const all = [];
  for (let x = 0; x <= end * 1.0001; x += step) all.push(Math.round(x * 1e6) / 1e6);
  return all;
}

export class Chart {
  /** `scale` is "log" for a logarithmic y axis, or "share" for 0 to 1. `ink` is the name of a color. */
  constructor(canvas, { scale, ink }) {
    Object.assign(this, { canvas, scale, ink });
    this.reset();
  }

  reset() {
    this.series = new Series();
    this.end = 0;
    this.due = true;
  }

  /** Sets the end of the x axis, so that charts next to each other have the same range of steps. */
  reach(step) {
    this.due ||= step !== this.end;
    this.end = step;
  }

  push(x, y) {
    this.series.push(x, y);
    this.due = true;
  }

  /** Draws the chart if it has changed since the last call. */
  draw() {
    if (!this.due) return;
    this.due = false;
    const { context, width, height } = fitted(this.canvas);
    const area = { left: 44, right: width - 8, top: 8, bottom: height - 24 };
    const points = this.series.points();
    const end = Math.max(this.end, this.series.last?.x ?? 0, 100);
    const { least, largest, marks, show } = this.scale === "log" ? this.#log(points) : SHARE;
    const place = this.scale === "log" ? (y) => Math.log10(Math.max(y, 1e-9)) : (y) => y;
    const x = (value) => area.left + (value / end) * (area.right - area.left);
    const y = (value) => area.bottom - ((place(value) - least) / (largest - least)) * (area.bottom - area.top);

    context.font = "12px system-ui, sans-serif";
    context.fillStyle = colour("soft");
    context.strokeStyle = colour("line");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const mark of marks) {
      const at = Math.round(y(mark)) + 0.5;
      context.beginPath();
      context.moveTo(area.left, at);
      context.lineTo(area.right, at);
      context.stroke();
      context.fillText(show(mark), area.left - 7, at);
    }
    context.textBaseline = "top";
    const steps = ticks(end).filter((step) => x(step) <= area.right);
    steps.forEach((step, index) => {
      context.textAlign = index === 0 ? "left" : x(step) > area.right - 20 ? "right" : "center";
      context.fillText(short(step), x(step), area.bottom + 8);
    });
    if (points.length === 0) return;
    this.#curve(context, points, x, y);
  }

  #curve(context, points, x, y) {
    context.fillStyle = context.strokeStyle = colour(this.ink);
    if (this.scale === "log" && points.length > 1) {
      context.globalAlpha = 0.2;
      context.beginPath();
      points.forEach((point) => context.lineTo(x(point.x), y(point.largest)));
      points.toReversed().forEach((point) => context.lineTo(x(point.x), y(point.least)));
      context.fill();
      context.globalAlpha = 1;
    }
    const line = this.scale === "log" ? smoothed(points) : points;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    line.forEach((point) => context.lineTo(x(point.x), y(point.y)));
    context.stroke();
    if (this.scale === "log" && points.length > 1) return;
    for (const point of points.slice(-60)) {
      context.beginPath();
      context.arc(x(point.x), y(point.y), 2.5, 0, 2 * Math.PI);
      context.fill();
    }
  }

  #log(points) {
    const lowest = Math.min(0.5, ...points.map((point) => point.least));
    const highest = Math.max(3, ...points.map((point) => point.largest));
    const least = Math.floor(2 * Math.log10(Math.max(lowest, 1e-6))) / 2;
    const largest = Math.ceil(4 * Math.log10(highest)) / 4;
    const marks = [];
    for (let power = Math.ceil(least); power <= largest; power += 1) marks.push(10 ** power);
    if (largest - least < 3) {
      for (let power = Math.floor(least); power <= largest; power += 1) {
        for (const factor of [2, 5]) {
          const mark = factor * 10 ** power;
          if (Math.log10(mark) >= least && Math.log10(mark) <= largest) marks.push(mark);
        }
      }
    }
    return { least, largest, marks, show: (mark) => `${+mark.toPrecision(1)}` };
  }
}

const SHARE = { least: 0, largest: 1, marks: [0, 0.25, 0.5, 0.75, 1], show: (mark) => `${100 * mark}%` };

/** Replaces each point by the mean of the point and its neighbors. */
function smoothed(points) {
  const reach = Math.min(6, Math.floor(points.length / 12));
  return points.map((point, index) => {
    const near = points.slice(Math.max(0, index - reach), index + reach + 1);
    return { x: point.x, y: near.reduce((sum, other) => sum + other.y, 0) / near.length };
  });
}

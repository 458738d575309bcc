// Charts: lines over the last minute.

const SPAN_S = 60;

export class Chart {
  // lines: { name: color }; unit: after the largest number
  constructor(canvas, lines, unit) {
    Object.assign(this, { canvas, lines, unit });
    this.points = []; // { at: seconds, values: { name: number } }
  }

  add(at, values) {
    this.points.push({ at, values });
    while (this.points[0].at < at - SPAN_S) this.points.shift();
    this.draw();
  }

  draw() {
    const { canvas, points } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!points.length) return;
    const numbers = points.flatMap(({ values }) => Object.values(values)).filter(Number.isFinite);
    const most = Math.max(...numbers) || 1;
    const end = points.at(-1).at;
    const x = (at) => width - ((end - at) / SPAN_S) * width;
    const y = (value) => height - 4 - (value / most) * (height - 22 * ratio);
    context.lineWidth = 1.5 * ratio;
    for (const [name, color] of Object.entries(this.lines)) {
      context.strokeStyle = color;
      context.beginPath();
      let isDown = false;
      for (const { at, values } of points) {
        if (!Number.isFinite(values[name])) {
          isDown = false;
          continue;
        }
        context[isDown ? "lineTo" : "moveTo"](x(at), y(values[name]));
        isDown = true;
      }
      context.stroke();
    }
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#97a1ad";
    context.fillText(`${Number(most.toPrecision(2))} ${this.unit}`, 4 * ratio, 12 * ratio);
    let right = width - 4 * ratio;
    for (const [name, color] of Object.entries(this.lines).reverse()) {
      const label = name.replaceAll("_", " ");
      right -= context.measureText(label).width;
      context.fillStyle = color;
      context.fillText(label, right, 12 * ratio);
      right -= 8 * ratio;
    }
  }
}

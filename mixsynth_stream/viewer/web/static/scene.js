// Drawing: the picture and everybody in it. The style of a joint shows where its numbers come from.

const COLORS = { left: "#00ff00", right: "#ff8000", middle: "#3399ff" };
const PALE = { left: "#7dff7d", right: "#ffc48a", middle: "#a3d0ff" };
const MIN_SCORE = 0.3;
const GHOST_ALPHAS = [0.45, 0.3, 0.18];

// scene: { size, people, ghosts, final, bitmap }; options: { mirror, final, ghost, sigma, ids }
export function drawScene(canvas, body, scene, options) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  const size = scene.size || [width, height];
  const scale = Math.min(width / size[0], height / size[1]);
  const left = (width - size[0] * scale) / 2;
  const top = (height - size[1] * scale) / 2;
  const place = options.mirror
    ? (x, y) => [width - left - x * scale, top + y * scale]
    : (x, y) => [left + x * scale, top + y * scale];
  if (scene.bitmap) {
    context.save();
    if (options.mirror) context.setTransform(-1, 0, 0, 1, width, 0);
    context.drawImage(scene.bitmap, left, top, size[0] * scale, size[1] * scale);
    context.restore();
  }
  const line = Math.min(Math.max((Math.min(...size) * scale) / 155, 2), 14);
  const pen = { context, body, place, line, scale };
  if (options.ghost) {
    scene.ghosts.forEach((people, number) => {
      for (const person of people) drawPale(pen, person.joints, PALE, GHOST_ALPHAS[number] ?? 0.15, 0.8 * line);
    });
  }
  if (options.final && scene.final) {
    const factor = size[0] / (scene.final.size || size)[0]; // its picture may have had another size
    const white = { left: "#fff", right: "#fff", middle: "#fff" };
    const scaled = { ...pen, place: (x, y) => place(x * factor, y * factor) };
    for (const person of scene.final.people) drawPale(scaled, person.joints, white, 0.55, 0.5 * line);
  }
  for (const person of scene.people) {
    if (options.sigma) drawSigma(pen, person.joints);
    drawPerson(pen, person.joints);
    if (options.ids) drawId(pen, person);
  }
}

const isShown = (joint) => joint !== null && joint[2] >= MIN_SCORE;

function boneSide(body, [start, end]) {
  const sides = new Set([body.sides[start], body.sides[end]].filter((side) => side !== "middle"));
  return sides.size === 1 ? [...sides][0] : "middle";
}

function drawBone({ context, place }, a, b) {
  context.beginPath();
  context.moveTo(...place(a[0], a[1]));
  context.lineTo(...place(b[0], b[1]));
  context.stroke();
}

function drawPale(pen, joints, colors, alpha, width) {
  const { context, body } = pen;
  context.save();
  Object.assign(context, { globalAlpha: alpha, lineWidth: width, lineCap: "round" });
  for (const bone of body.bones) {
    const [a, b] = bone.map((j) => joints[j]);
    if (!isShown(a) || !isShown(b)) continue;
    context.strokeStyle = colors[boneSide(body, bone)];
    drawBone(pen, a, b);
  }
  context.restore();
}

// Measured is thick with white rings, filled and tracked are thin, forecast and held are dashed.
function drawPerson(pen, joints) {
  const { context, body, place, line } = pen;
  const { measured, forecast, held } = body.origins;
  const isAhead = (joint) => joint[3] === forecast || joint[3] === held;
  context.save();
  context.lineCap = "round";
  for (const bone of body.bones) {
    const [a, b] = bone.map((j) => joints[j]);
    if (!isShown(a) || !isShown(b)) continue;
    const isMeasured = a[3] === measured && b[3] === measured;
    context.setLineDash(isAhead(a) || isAhead(b) ? [2.2 * line, 1.8 * line] : []);
    context.lineWidth = isMeasured ? line : 0.7 * line;
    context.strokeStyle = COLORS[boneSide(body, bone)];
    drawBone(pen, a, b);
  }
  context.setLineDash([]);
  joints.forEach((joint, j) => {
    if (!isShown(joint)) return;
    const isMeasured = joint[3] === measured;
    context.beginPath();
    context.arc(...place(joint[0], joint[1]), (isMeasured ? 0.95 : 0.65) * line, 0, 2 * Math.PI);
    context.fillStyle = COLORS[body.sides[j]];
    context.fill();
    if (isMeasured) {
      Object.assign(context, { lineWidth: 0.36 * line, strokeStyle: "#fff" });
      context.stroke();
    }
  });
  context.restore();
}

function drawSigma({ context, body, place, scale }, joints) {
  context.save();
  context.globalAlpha = 0.16;
  joints.forEach((joint, j) => {
    if (!isShown(joint) || joint[4] === null) return;
    context.fillStyle = COLORS[body.sides[j]];
    context.beginPath();
    context.arc(...place(joint[0], joint[1]), joint[4] * scale, 0, 2 * Math.PI);
    context.fill();
  });
  context.restore();
}

function drawId({ context, place, line }, { id, joints }) {
  const shown = joints.filter(isShown);
  if (!shown.length) return;
  const places = shown.map(([x, y]) => place(x, y));
  const x = (Math.min(...places.map((p) => p[0])) + Math.max(...places.map((p) => p[0]))) / 2;
  const size = 4 * line + 6;
  const y = Math.max(Math.min(...places.map((p) => p[1])) - size, size);
  context.save();
  Object.assign(context, { font: `600 ${size}px system-ui, sans-serif`, textAlign: "center", lineWidth: size / 5 });
  context.strokeStyle = "#000";
  context.strokeText(id, x, y);
  context.fillStyle = "#fff";
  context.fillText(id, x, y);
  context.restore();
}

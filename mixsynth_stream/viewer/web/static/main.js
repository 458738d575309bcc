// The page: asks for what is newest each time the display draws, and lets the user look back.

import { Connection } from "./connection.js";
import { History } from "./history.js";
import { Recorder } from "./recorder.js";
import { drawScene } from "./scene.js";
import { Statistics } from "./statistics.js";

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const history = new History();
const recorder = new Recorder(canvas);
const statistics = new Statistics();
const STATES = {
  connecting: "connecting",
  opening: "the camera is being opened",
  waiting: "waiting for the camera",
  live: "live",
  lost: "camera lost, trying again",
  ended: "the stream has ended",
  refused: "no stream here, trying again (is the address complete?)",
  disconnected: "no connection, trying again",
};

let body = null; // joints, sides, bones and origins of the skeleton
let scene = null; // what is drawn
let bitmap = null; // the newest picture
let pictureIndex = -1;
let finals = []; // those of the last seconds, oldest first
let trail_s = 0.1; // how far behind the final poses are shown
let shown = null; // the entry of the history that is shown while paused

function setState(state, why = "") {
  const { dataset } = document.body;
  if (dataset.state === state && dataset.why === why) return;
  Object.assign(dataset, { state, why });
  element("state").textContent = STATES[state] ?? state;
  element("notice").textContent = (STATES[state] ?? state) + (why ? ` (${why})` : "");
  element("notice").hidden = state === "live" || state === "connecting";
}

const connection = new Connection({
  onHello(message) {
    body = message;
    element("source").textContent = message.source;
    showSources(message);
    element("end").hidden = !message.may_end;
    history.clear();
    statistics.clear();
    [bitmap, pictureIndex, finals, scene] = [null, -1, [], null];
  },
  onAnswer(message, jpeg) {
    setState(message.state, message.why);
    statistics.show(message.stats);
    if (message.people === undefined) return;
    takeFinals(message);
    scene = { ...message, final: trailing(message.time_s), bitmap };
    document.body.dataset.people = message.people.length;
    document.body.dataset.time = message.time_s;
    document.body.dataset.frame = message.index;
    if (jpeg) {
      document.body.dataset.picture = message.picture.time_s;
      pictureIndex = message.picture.index;
      history.add(scene, jpeg);
      if (shown !== null && !kept.length) pause(true); // it was paused before there was a picture
      createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).then((image) => {
        bitmap?.close();
        bitmap = image;
      }, () => {});
    }
    if (shown === null) draw();
  },
  onGone(why) {
    const { state } = document.body.dataset;
    // Who has watched before knows the address: what ended or broke is told until there is a stream again.
    if (why !== "refused" || body === null) setState(why);
    else if (state !== "ended") setState("disconnected");
  },
});

function showSources({ sources, number }) {
  const choice = element("sources");
  choice.hidden = sources.length < 2;
  element("source").hidden = !choice.hidden;
  choice.replaceChildren(...sources.map((name, value) => new Option(name, value, false, value === number)));
}

function takeFinals({ finals: newer, time_s }) {
  finals.push(...newer);
  finals = finals.filter((one) => one.time_s > time_s - 3);
  // Finals come in bursts. The delay that none of them exceeds shrinks slowly, so that they are shown evenly.
  const age_s = finals.length ? time_s - finals.at(-1).time_s : 0;
  trail_s = Math.min(Math.max(age_s, 0.999 * trail_s), 2);
}

const trailing = (time_s) => finals.findLast((one) => one.time_s <= time_s - trail_s) ?? null;

function options() {
  const isOn = (id) => element(id).checked;
  return {
    mirror: element("mirror").getAttribute("aria-pressed") === "true",
    final: isOn("final"),
    ghost: isOn("ghost"),
    sigma: isOn("sigma"),
    ids: isOn("ids"),
  };
}

function draw() {
  const current = shown ?? (scene && { ...scene, bitmap });
  if (body && current) drawScene(canvas, body, current, options());
}

function tick() {
  requestAnimationFrame(tick);
  connection.draw(pictureIndex, finals.at(-1)?.index ?? -1, element("now").checked);
  const { length } = history.entries;
  const seek = element("seek");
  if (shown === null) {
    seek.max = Math.max(length - 1, 0);
    seek.value = seek.max;
  }
}

// Paused, the page goes on taking what comes, so that nothing is missing afterwards.
let kept = [];
async function show(number) {
  const entry = kept[number];
  if (!entry) return;
  element("seek").value = number;
  element("when").textContent = `${(entry.scene.time_s - kept.at(-1).scene.time_s).toFixed(2)} s`;
  const image = await createImageBitmap(new Blob([entry.jpeg], { type: "image/jpeg" }));
  if (shown === null || Number(element("seek").value) !== number) return image.close();
  shown.bitmap?.close();
  shown = { ...entry.scene, bitmap: image };
  document.body.dataset.shown = entry.scene.time_s;
  draw();
}

function pause(isOn) {
  element("pause").setAttribute("aria-pressed", isOn);
  if (isOn) {
    kept = [...history.entries];
    shown = { ...(scene ?? {}), people: scene?.people ?? [], ghosts: scene?.ghosts ?? [], bitmap: null };
    element("seek").max = Math.max(kept.length - 1, 0);
    show(kept.length - 1);
  } else {
    shown?.bitmap?.close();
    [shown, kept] = [null, []];
    element("when").textContent = "now";
    delete document.body.dataset.shown;
  }
}

function step(by) {
  if (shown === null) pause(true);
  show(Math.min(Math.max(Number(element("seek").value) + by, 0), kept.length - 1));
}

function toggle(id) {
  const isOn = element(id).getAttribute("aria-pressed") !== "true";
  element(id).setAttribute("aria-pressed", isOn);
  return isOn;
}

const actions = {
  pause: () => pause(shown === null),
  back: () => step(-1),
  forth: () => step(1),
  mirror: () => {
    localStorage.setItem("mirror", toggle("mirror"));
    draw();
  },
  end: () => connection.end(),
  record: () => (toggle("record") ? recorder.start() : recorder.stop()),
};
for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
for (const id of ["final", "ghost", "sigma", "ids"]) element(id).addEventListener("change", draw);
element("seek").addEventListener("input", ({ target }) => {
  const number = Number(target.value);
  if (shown === null) pause(true);
  show(number);
});
element("sources").addEventListener("change", ({ target }) => {
  if (shown !== null) pause(false);
  connection.choose(Number(target.value));
  target.blur(); // keys are for the page again
});
const KEYS = { " ": "pause", ArrowLeft: "back", ArrowRight: "forth", m: "mirror", r: "record", q: "end" };
document.addEventListener("keydown", (event) => {
  const id = KEYS[event.key];
  if (!id || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=range]")) return;
  event.preventDefault();
  actions[id]();
});
window.addEventListener("resize", draw);
if (localStorage.getItem("mirror") === "true") toggle("mirror");
requestAnimationFrame(tick);

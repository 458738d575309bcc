// The connection to the server: one request for each picture that is drawn, and one answer to each request.

const RETRY_MS = 1000;
const PATIENCE_MS = 3000; // an answer that takes longer will not come

export class Connection {
  // onHello(message), onAnswer(message, jpeg), onGone(why): "ended", "refused" or "disconnected"
  constructor({ onHello, onAnswer, onGone }) {
    Object.assign(this, { onHello, onAnswer, onGone });
    this.socket = null;
    this.askedAt = null; // of the request that waits for its answer
    this.roundTripMs = 0;
    this.source = 0; // of several
    this.open();
  }

  // Show another source. What it has shown last comes no more.
  choose(source) {
    this.source = source;
    this.socket.close();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = new URLSearchParams(location.search);
    query.set("source", this.source);
    const { source } = this;
    const socket = new WebSocket(`${scheme}://${location.host}/stream?${query}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    let wasOpen = false;
    socket.onmessage = ({ data }) => {
      if (source !== this.source) return;
      if (typeof data === "string") {
        wasOpen = true;
        this.askedAt = null;
        this.onHello(JSON.parse(data));
        return;
      }
      const length = new DataView(data).getUint32(0, true);
      const message = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      if (this.askedAt !== null) this.roundTripMs += 0.1 * (performance.now() - this.askedAt - this.roundTripMs);
      this.askedAt = null;
      this.onAnswer(message, data.byteLength > 4 + length ? data.slice(4 + length) : null);
    };
    socket.onclose = ({ code }) => {
      if (source !== this.source) return this.open();
      this.onGone(code === 1001 ? "ended" : wasOpen ? "disconnected" : "refused");
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  // End the stream, and the program with it. A server that lets no page do that closes the connection.
  end() {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "end" }));
  }

  // Ask for what is newest, unless an answer is still on its way.
  // With `isNow` everybody now, else as of the picture.
  draw(picture, final, isNow) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.askedAt !== null) {
      if (performance.now() - this.askedAt > PATIENCE_MS) this.socket.close();
      return;
    }
    this.askedAt = performance.now();
    const ahead_s = Math.min(this.roundTripMs / 2000 + 0.008, 0.2); // half the way there, and half a picture
    this.socket.send(JSON.stringify({ type: "draw", picture, final, ...(isNow ? { ahead_s } : { of: "picture" }) }));
  }
}

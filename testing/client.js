'use strict';

// Written by scripts/testing-client.mjs of client/*.mjs.

const {
  clearTimeout: realClearTimeout,
  performance: realPerformance,
  queueMicrotask: realQueueMicrotask,
  setTimeout: realSetTimeout,
} = require('./real');

"use strict";
var __defProp = Object.defineProperty;
var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __hasOwnProp = Object.prototype.hasOwnProperty;
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};
var __copyProps = (to, from, except, desc) => {
  if (from && typeof from === "object" || typeof from === "function") {
    for (let key of __getOwnPropNames(from))
      if (!__hasOwnProp.call(to, key) && key !== except)
        __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });
  }
  return to;
};
var __toCommonJS = (mod) => __copyProps(__defProp({}, "__esModule", { value: true }), mod);

// client/index.mjs
var index_exports = {};
__export(index_exports, {
  CoreClient: () => CoreClient,
  WebSocketClient: () => WebSocketClient,
  closeAdvice: () => closeAdvice
});
module.exports = __toCommonJS(index_exports);

// client/backoff.mjs
var Backoff = class {
  #failures = 0;
  constructor({ minMs, maxMs }, random = Math.random) {
    this.next = () => random() * Math.min(maxMs, minMs * 2 ** this.#failures++);
  }
  reset() {
    this.#failures = 0;
  }
};

// client/close.mjs
var RECONNECT = [1001, 1006, 1011, 1012, 1013, 1014, 4003, 4004, 4429];
var REFRESH = [4001, 4401];
function closeAdvice(code) {
  if (REFRESH.includes(code)) return "refresh";
  return RECONNECT.includes(code) || code >= 4500 && code < 4600 ? "reconnect" : "stop";
}

// client/error.mjs
function failure(code, message, more) {
  return Object.assign(new Error(message), { code }, more);
}

// client/frame.mjs
var HEAD_BYTES = 2;
function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
var sizeOf = (frame) => typeof frame === "string" ? new TextEncoder().encode(frame).length : frame.byteLength;
function encode(message) {
  const bytes = bytesOf(message.data);
  if (bytes) {
    const head = new TextEncoder().encode(JSON.stringify({ ...message, data: void 0 }));
    const frame = new Uint8Array(HEAD_BYTES + head.length + bytes.length);
    new DataView(frame.buffer).setUint16(0, head.length);
    frame.set(head, HEAD_BYTES);
    frame.set(bytes, HEAD_BYTES + head.length);
    return frame;
  }
  let cause;
  try {
    if (!("data" in message) || JSON.stringify(message.data) !== void 0) return JSON.stringify(message);
  } catch (error) {
    cause = error;
  }
  throw failure("ERR_NOT_SERIALIZABLE", "data must be bytes or JSON", {
    cause
  });
}
function decode(frame) {
  try {
    const isText = typeof frame === "string";
    let head = frame;
    let data;
    if (!isText) {
      const end = HEAD_BYTES + new DataView(frame).getUint16(0);
      if (end > frame.byteLength) return;
      head = new TextDecoder("utf-8", { fatal: true }).decode(
        new Uint8Array(frame, HEAD_BYTES, end - HEAD_BYTES)
      );
      data = new Uint8Array(frame, end);
    }
    const message = JSON.parse(head);
    if (typeof message.type !== "string") return;
    return isText ? message : { ...message, data };
  } catch {
  }
}

// client/inside.mjs
var INSIDE = /* @__PURE__ */ Symbol();

// client/listeners.mjs
var Listeners = class {
  #lists = {};
  on(name, listener) {
    const entry = { listener };
    this.#lists[name] ??= /* @__PURE__ */ new Set();
    this.#lists[name].add(entry);
    return () => this.#lists[name].delete(entry);
  }
  emit(name, event) {
    for (const { listener } of [...this.#lists[name] ?? []]) {
      try {
        listener(event);
      } catch (error) {
        realQueueMicrotask(() => {
          throw error;
        });
      }
    }
  }
};

// client/options.mjs
var DEFAULTS = {
  token: void 0,
  reconnect: void 0,
  queueBytes: 1048576,
  silenceMs: 2e4,
  WebSocket: void 0
};
var PAUSES = { minMs: 500, maxMs: 3e4 };
function merge(defaults, given = {}, path = "") {
  const merged = { ...defaults };
  if (typeof given !== "object" || given === null) throw invalid(path || "options", "an object");
  for (const [name, value] of Object.entries(given)) {
    if (!(name in defaults)) throw failure("ERR_UNKNOWN_OPTION", `There is no option ${path}${name}`);
    if (value === void 0) continue;
    if (typeof defaults[name] === "number" && !(typeof value === "number" && value > 0 && value < 2 ** 31)) {
      throw invalid(path + name, "above 0 and below 2^31");
    }
    merged[name] = value;
  }
  return merged;
}
var invalid = (name, what) => failure("ERR_INVALID_OPTION", `${name} must be ${what}`);
function optionsOf(given) {
  const options = merge(DEFAULTS, given);
  options.reconnect = merge(PAUSES, options.reconnect, "reconnect.");
  options.WebSocket ??= globalThis.WebSocket;
  if (!["undefined", "string", "function"].includes(typeof options.token)) {
    throw invalid("token", "a string or a function");
  }
  if (typeof options.WebSocket !== "function")
    throw invalid("WebSocket", "a class (Node has one from 22 on)");
  return options;
}
function urlOf(url) {
  let parsed;
  try {
    parsed = new URL(url, globalThis.location?.href);
  } catch {
  }
  const address = parsed?.href.replace(/^http/, "ws").split("#")[0];
  if (!/^wss?:/.test(address)) throw failure("ERR_INVALID_ARG", `url must begin with ws or http: ${url}`);
  return address;
}

// client/outbox.mjs
var MOST_UNANSWERED = 256;
var nothing = () => {
};
var uncertain = () => failure("ERR_UNCERTAIN", "It may have been taken");
var Outbox = class {
  #most;
  #entries = /* @__PURE__ */ new Map();
  #unanswered = 0;
  #bytes = 0;
  #last = 0;
  #write;
  held;
  constructor(most) {
    this.#most = most;
  }
  add(message, mayFill) {
    const id = String(++this.#last);
    const { type } = message;
    const frame = encode({ ...message, id });
    const size = sizeOf(frame);
    if ("data" in message && this.#bytes + size > this.#most && !(mayFill && this.#bytes === 0)) {
      throw failure("ERR_QUEUE_FULL", `More than ${this.#most} bytes wait`);
    }
    this.#bytes += size;
    const promise = new Promise((resolve, reject) => {
      this.#entries.set(id, { type, frame, size, resolve, reject, written: false });
    });
    promise.catch(nothing);
    this.flush();
    return { id, promise };
  }
  open(write) {
    this.#write = write;
    this.flush();
  }
  // The connection ended. A `send` goes again to the next one. A `request` that was written may have been served; all else concerns
  // this connection alone.
  cut() {
    this.#write = void 0;
    for (const [id, entry] of this.#entries) {
      if (entry.type !== "send" && (entry.written || entry.type !== "request")) this.fail(id, uncertain());
      entry.written = false;
    }
    this.#unanswered = 0;
  }
  // The answer with this `id` came.
  settle({ type, id, code, message, text, data = text }) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#forget(id);
    if (type === "error") entry.reject(failure(code, message));
    else entry.resolve(data);
    this.flush();
  }
  // Its caller waits no longer.
  fail(id, error) {
    this.#entries.get(id)?.reject(error);
    this.#forget(id);
  }
  clear(error) {
    for (const [id, { written }] of this.#entries) this.fail(id, written ? uncertain() : error);
  }
  #forget(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#bytes -= entry.size;
    if (entry.written) this.#unanswered -= 1;
    this.#entries.delete(id);
  }
  flush() {
    for (const entry of this.#entries.values()) {
      if (!this.#write || this.#unanswered >= MOST_UNANSWERED) return;
      if (entry.written || this.held && entry.type === "send") continue;
      if (!this.#write(entry.frame)) return;
      entry.written = true;
      this.#unanswered += 1;
    }
  }
};

// client/page.mjs
var isOffline = () => globalThis.navigator?.onLine === false;
function onWake(wake) {
  const { document } = globalThis;
  const show = () => document.visibilityState === "visible" && wake();
  globalThis.addEventListener?.("online", wake);
  document?.addEventListener("visibilitychange", show);
  return () => {
    globalThis.removeEventListener?.("online", wake);
    document?.removeEventListener("visibilitychange", show);
  };
}

// client/pulse.mjs
var now = () => realPerformance.now();
var Pulse = class {
  #silenceMs;
  #ask;
  #die;
  #timer;
  #heardAt;
  #askedAt;
  constructor(silenceMs, ask, die) {
    this.#silenceMs = silenceMs;
    this.#ask = ask;
    this.#die = die;
  }
  start() {
    this.hear();
    this.#check();
  }
  stop() {
    realClearTimeout(this.#timer);
  }
  // Each message comes by here: it sets no timer.
  hear() {
    this.#heardAt = now();
    this.#askedAt = void 0;
  }
  // Something hints at a dead link.
  doubt() {
    if (this.#askedAt !== void 0) return;
    this.#askedAt = now();
    this.#check();
    this.#ask();
  }
  #check() {
    realClearTimeout(this.#timer);
    const dueAt = this.#askedAt === void 0 ? this.#heardAt + this.#silenceMs : this.#askedAt + this.#silenceMs / 2;
    const rest = dueAt - now();
    if (rest > 0) this.#timer = realSetTimeout(() => this.#check(), rest);
    else if (this.#askedAt === void 0) this.doubt();
    else this.#die();
  }
};

// client/topics.mjs
var MOST_MESSAGES = 1e4;
var MOST_BYTES = 8 * 1024 * 1024;
var MOST_ASKED = 1e3;
var MOST_GENERATIONS = 8;
var ROOM = "room:";
var topicOf = (room) => ROOM + room;
var roomOf = (topic) => topic?.startsWith(ROOM) ? topic.slice(ROOM.length) : void 0;
function parse(position) {
  const dot = position.lastIndexOf(".");
  return [position.slice(0, dot), Number(position.slice(dot + 1))];
}
var Topic = class {
  position;
  // Messages wait until it is known what the connection before has missed.
  keeping = false;
  // A `resume` is under way.
  asked = false;
  // The server has said that the client joined, since it was asked.
  joined = true;
  // It was answered that nothing is known for now.
  postponed = false;
  // Replayed messages wait for `resumed`: it says whether some before them are missing.
  page = [];
  kept = [];
  // The last offset that was handed on, by generation; the oldest generation first.
  seen = /* @__PURE__ */ new Map();
  generation;
  // Generations of this connection: that in which its live messages begin, if known, and that of the last one.
  expected;
  current;
  constructor(name, position) {
    this.name = name;
    this.position = position;
  }
  // Nothing was replayed that tells which generation is the newest: the one of this connection is, if it is new to the client.
  assume() {
    if (this.expected !== void 0 && !this.seen.has(this.expected)) this.generation = this.expected;
  }
  note(generation, offset) {
    this.seen.delete(generation);
    this.seen.set(generation, offset);
    if (this.seen.size > MOST_GENERATIONS) this.seen.delete(this.seen.keys().next().value);
    this.generation = generation;
  }
};
var Topics = class {
  #topics = /* @__PURE__ */ new Map();
  #out;
  #mostMessages;
  #mostBytes;
  #count = 0;
  #bytes = 0;
  #connection = 0;
  #userId;
  constructor(out, mostMessages = MOST_MESSAGES, mostBytes = MOST_BYTES) {
    this.#out = out;
    this.#mostMessages = mostMessages;
    this.#mostBytes = mostBytes;
  }
  get names() {
    return [...this.#topics.keys()];
  }
  // The connection ended. Held messages will be replayed to the next one.
  cut() {
    this.#connection += 1;
    this.#count = 0;
    this.#bytes = 0;
    for (const topic of this.#topics.values()) {
      topic.keeping = true;
      topic.asked = false;
      topic.joined = false;
      topic.postponed = false;
      topic.page = [];
      topic.kept = [];
      topic.current = void 0;
      topic.expected = void 0;
    }
  }
  // Asks again for the topics of which nothing was known.
  again() {
    this.#ask([...this.#topics.values()].filter((topic) => topic.postponed));
  }
  receive(message, size) {
    const topic = this.#topics.get(message.topic);
    switch (message.type) {
      case "hello":
        return this.#hello(message);
      case "joined":
        return this.#ask(this.#join([message], true));
      case "left":
        return this.#leave(topic);
      case "resumed":
        return topic?.asked && this.#resumed(topic, message);
      case "missed":
        if (message.topic === void 0) return this.#gap(message, size);
        break;
      case "message":
        break;
      default:
        return;
    }
    if (message.replayed) {
      if (topic?.keeping && topic.asked) this.#hold(topic, topic.page, message, size);
    } else this.#place(topic, message, size);
  }
  #hello({ userId, anonymous, topics }) {
    const connection = this.#connection;
    if (this.#userId !== void 0 && userId !== this.#userId) {
      for (const topic of this.#topics.values()) if (!anonymous || topic.name === "user") this.#leave(topic);
    }
    this.#userId = userId;
    const known = [...this.#topics.values()];
    const unknown = this.#join(topics);
    if (connection !== this.#connection) return;
    this.#ask([...known.filter(({ joined, name }) => joined || !this.#out.returns(name)), ...unknown]);
  }
  // Answers with those that are new and have no position: the server may not have known it yet. With `late`, also with those that the
  // client knew and has come back to.
  #join(messages, late) {
    const asked = [];
    const connection = this.#connection;
    for (const { topic: name, position } of messages) {
      const known = this.#topics.get(name);
      if (known) {
        known.joined = true;
        if (known.keeping && position) [known.expected] = parse(position);
        else if (known.position === void 0) known.position = position;
        if (late && known.keeping && !known.asked) asked.push(known);
        continue;
      }
      const topic = new Topic(name, position);
      this.#topics.set(name, topic);
      if (position === void 0) asked.push(topic);
      this.#out.joined(name);
      if (connection !== this.#connection) return [];
    }
    return asked;
  }
  forget(name) {
    this.#leave(this.#topics.get(name));
  }
  #leave(topic) {
    if (!topic) return;
    this.#topics.delete(topic.name);
    this.#release(topic.page);
    this.#release(topic.kept);
    this.#out.left(topic.name);
  }
  #ask(topics) {
    for (const topic of topics) {
      topic.asked = true;
      topic.postponed = false;
      if (topic.keeping && topic.position) {
        const [generation, offset] = parse(topic.position);
        topic.note(generation, Math.max(offset, topic.seen.get(generation) ?? 0));
      }
    }
    for (let from = 0; from < topics.length; from += MOST_ASKED) {
      const some = topics.slice(from, from + MOST_ASKED);
      this.#out.ask(some.map(({ name, position }) => ({ topic: name, position })));
    }
  }
  #resumed(topic, { position, more, recovered, reason }) {
    const connection = this.#connection;
    if (topic.keeping) topic.asked = false;
    if (reason === "not-member") {
      if (!topic.joined) return this.#leave(topic);
      topic.joined = false;
      return this.#ask([topic]);
    }
    const page = this.#release(topic.page);
    topic.page = [];
    if (reason === "unavailable") {
      topic.postponed = topic.keeping || topic.position === void 0;
      if (topic.postponed) this.#out.postpone();
      return;
    }
    if (!topic.keeping) {
      if (reason === "no-position" && topic.position === void 0) topic.position = position;
      return;
    }
    if (!recovered) this.#out.missed(topic.name, reason);
    if (!this.#handOn(topic, page, connection)) return;
    if (position !== void 0) topic.position = position;
    else if (reason === "no-history") topic.position = void 0;
    if (position) [topic.generation] = parse(position);
    else topic.assume();
    if (more) return this.#ask([topic]);
    this.#goOn(topic, connection);
  }
  #goOn(topic, connection) {
    topic.keeping = false;
    const kept = this.#release(topic.kept);
    topic.kept = [];
    this.#handOn(topic, kept, connection);
  }
  // False if a listener has ended the connection: the rest will be replayed.
  #handOn(topic, held, connection) {
    for (const { message } of held) {
      if (connection !== this.#connection) return false;
      this.#take(topic, message);
    }
    return connection === this.#connection;
  }
  #hold(topic, list, message, size) {
    list.push({ message, size });
    this.#count += 1;
    this.#bytes += size;
    if (this.#count <= this.#mostMessages && this.#bytes <= this.#mostBytes) return;
    const connection = this.#connection;
    this.#release(topic.page);
    topic.page = [];
    topic.postponed = false;
    topic.assume();
    this.#out.missed(topic.name, "overflow");
    if (connection === this.#connection) this.#goOn(topic, connection);
  }
  #release(held) {
    for (const { size } of held) {
      this.#count -= 1;
      this.#bytes -= size;
    }
    return held;
  }
  #gap(message, size) {
    const connection = this.#connection;
    for (const topic of [...this.#topics.values()]) {
      if (connection !== this.#connection) return;
      if (topic.keeping && topic.kept.length === 0) continue;
      if (topic.position === void 0) this.#place(topic, { ...message, topic: topic.name }, size);
    }
  }
  #place(topic, message, size) {
    if (topic?.keeping) this.#hold(topic, topic.kept, message, size);
    else this.#take(topic, message);
  }
  #take(topic, message) {
    const { type, position, reason } = message;
    if (type === "missed") {
      if (topic && position !== void 0) {
        const [generation, offset] = parse(position);
        if (offset <= topic.seen.get(generation)) return;
        topic.position = position;
      }
      return this.#out.missed(message.topic, reason);
    }
    if (topic && position !== void 0 && !this.#isNext(topic, message)) return;
    this.#out.message(message);
  }
  #isNext(topic, { position, replayed }) {
    const [generation, offset] = parse(position);
    const last = topic.seen.get(generation);
    if (generation !== topic.generation) {
      const before = topic.current;
      if (!replayed) topic.current = generation;
      const isKnown = last !== void 0 || generation === topic.expected;
      if (!replayed && isKnown && before !== topic.generation) return false;
      topic.generation = generation;
    } else if (!replayed) topic.current = generation;
    if (offset <= last) return false;
    topic.note(generation, offset);
    topic.position = position;
    return true;
  }
};

// client/core.mjs
var PROTOCOL = "actory.v1";
var STEADY_MS = 5e3;
var OPEN = 1;
var ANSWERS = ["ack", "reply", "error"];
var nothing2 = () => {
};
var CoreClient = class {
  #url;
  #options;
  #listeners = new Listeners();
  #outbox;
  #pauses;
  #delays;
  #topics;
  #pulse;
  #status = "connecting";
  #userId;
  #session;
  #socket;
  // Changes with each attempt and each end: what belongs to one before is void.
  #attempt = 0;
  #pause;
  #delay;
  #helloAt;
  #unwatch;
  constructor(url, options) {
    this.#url = urlOf(url);
    this.#options = optionsOf(options);
    const { queueBytes, silenceMs, reconnect } = this.#options;
    this.#outbox = new Outbox(queueBytes);
    this.#pauses = new Backoff(reconnect);
    this.#delays = new Backoff(reconnect);
    this.#pulse = new Pulse(
      silenceMs,
      () => this.#helloAt === void 0 ? this.#retry() : this.#socket.send('{"type":"ping"}'),
      () => this.#retry()
    );
    const emitRoom = (name) => (topic) => {
      const room = roomOf(topic);
      if (room !== void 0) this.#listeners.emit(name, { room });
    };
    this.#topics = new Topics({
      message: ({ topic, position, replayed = false, text, data = text }) => {
        const event = { data, topic, room: roomOf(topic), position, replayed };
        this.#listeners.emit("message", text === void 0 ? event : { ...event, text });
      },
      missed: (topic, reason) => this.#listeners.emit("missed", { topic, room: roomOf(topic), reason }),
      joined: emitRoom("joined"),
      left: emitRoom("left"),
      ask: (topics) => this.#socket.send(JSON.stringify({ type: "resume", topics })),
      returns: (topic) => this[INSIDE].returns?.(topic),
      postpone: () => {
        this.#delay ??= realSetTimeout(() => {
          this.#delay = void 0;
          this.#topics.again();
        }, this.#delays.next());
      }
    });
    this[INSIDE] = {
      ask: (message) => this.#ask(message),
      outbox: this.#outbox,
      topics: this.#topics,
      options: this.#options,
      listeners: this.#listeners
    };
    this.#connect();
  }
  get status() {
    return this.#status;
  }
  get userId() {
    return this.#userId;
  }
  on(name, listener) {
    return this.#listeners.on(name, listener);
  }
  send(data) {
    return this.#ask({ type: "send", data }).promise;
  }
  close() {
    this.#end();
  }
  reconnect() {
    this.#connect(true);
  }
  #ask(message) {
    try {
      if (this.#status === "closed") throw failure("ERR_CLOSED", "The client is closed");
      return this.#outbox.add(message, this.#status === "open");
    } catch (error) {
      const promise = Promise.reject(error);
      if (error.code !== "ERR_NOT_SERIALIZABLE") promise.catch(nothing2);
      return { promise };
    }
  }
  #fail(error) {
    this.#listeners.emit("error", error);
  }
  async #connect(force) {
    this.#unwatch ??= onWake(() => {
      if (this.#status === "waiting") this.#connect();
      else if (this.#status === "open") this.#pulse.doubt();
    });
    this.#drop();
    const attempt = this.#attempt;
    if (isOffline() && !force) return this.#setStatus("waiting");
    this.#setStatus("connecting");
    const { token, WebSocket } = this.#options;
    const protocols = [PROTOCOL];
    if (this.#session) protocols.push(`session.${this.#session}`);
    try {
      await void 0;
      if (attempt !== this.#attempt) return;
      const secret = await (typeof token === "function" ? token() : token);
      if (attempt !== this.#attempt) return;
      if (secret !== void 0) protocols.push("bearer", secret);
    } catch (cause) {
      if (attempt === this.#attempt) this.#retry(failure("ERR_TOKEN", "token failed", { cause }));
      return;
    }
    let socket;
    try {
      socket = new WebSocket(this.#url, protocols);
    } catch (cause) {
      this.#end(failure("ERR_INVALID_ARG", "WebSocket refuses url or token", { cause }));
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onerror = () => {
      if (socket === this.#socket && socket.readyState === 0) this.#retry();
    };
    socket.onopen = () => {
      if (socket.protocol === PROTOCOL) return;
      this.#end(failure("ERR_PROTOCOL_UNSUPPORTED", `The server does not speak ${PROTOCOL}`));
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#onClose(code, reason);
    this.#pulse.start();
  }
  #onClose(code, reason) {
    const advice = closeAdvice(code);
    if (advice === "reconnect" || advice === "refresh" && typeof this.#options.token === "function") {
      this.#retry();
    } else {
      const message = `The server closed: ${code} ${reason}`;
      this.#end(failure("ERR_CLOSED", message, { closeCode: code, reason }));
    }
  }
  #receive(frame) {
    this.#pulse.hear();
    const message = decode(frame);
    const type = message?.type;
    if (!message) this.#fail(failure("ERR_INVALID_MESSAGE", "No message"));
    else if (ANSWERS.includes(type)) {
      if (message.id !== void 0) this.#outbox.settle(message);
      else this.#fail(failure(message.code, message.message));
    } else if (type === "hello") this.#onHello(message);
    else if (this.#helloAt !== void 0) {
      if (type === "resumed" && message.reason !== "unavailable") this.#delays.reset();
      this.#topics.receive(message, frame.length ?? frame.byteLength);
    }
  }
  #onHello(message) {
    if (this.#helloAt !== void 0) return;
    const attempt = this.#attempt;
    this.#helloAt = realPerformance.now();
    if (this.#userId !== void 0 && message.userId !== this.#userId && !message.anonymous) {
      this.#outbox.clear(failure("ERR_USER_CHANGED", "Another user"));
    }
    this.#userId = message.userId;
    this.#session = message.session;
    this.#topics.receive(message);
    if (attempt !== this.#attempt) return;
    const socket = this.#socket;
    this[INSIDE].greeted?.(message);
    this.#outbox.open((frame) => {
      if (socket.readyState !== OPEN) return false;
      socket.send(frame);
      return true;
    });
    this.#setStatus("open");
  }
  // Comes back after a pause.
  #retry(error) {
    if (realPerformance.now() - this.#helloAt >= STEADY_MS) this.#pauses.reset();
    this.#drop();
    this.#pause = realSetTimeout(() => this.#connect(), this.#pauses.next());
    this.#setStatus("waiting");
    if (error) this.#fail(error);
  }
  #end(error) {
    this.#outbox.clear(error ?? failure("ERR_CLOSED", "The client is closed"));
    this.#drop();
    this.#unwatch?.();
    this.#unwatch = void 0;
    this.#setStatus("closed");
    if (error) this.#fail(error);
  }
  #drop() {
    this.#attempt += 1;
    realClearTimeout(this.#pause);
    realClearTimeout(this.#delay);
    this.#delay = void 0;
    this.#delays.reset();
    this.#pulse.stop();
    this.#helloAt = void 0;
    this.#outbox.cut();
    this.#topics.cut();
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = void 0;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1e3);
  }
  #setStatus(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#listeners.emit("status", status);
  }
};

// client/client.mjs
var ANSWER_MS = 1e4;
var AGAIN_MS = 1e4;
var RENEW_AT = 0.75;
var RENEW_SPREAD = 0.15;
var LEAST_MS = 100;
var MOST_MS = 2 ** 31;
var HOLD_MS = 5e3;
var UNKNOWN = ["ERR_AUTH_FAILED", "ERR_TOO_MANY_UNANSWERED"];
var nothing3 = () => {
};
var WebSocketClient = class extends CoreClient {
  // The rooms that the client joins by itself, and the promises of that.
  #rooms = /* @__PURE__ */ new Map();
  #renewal;
  #clockOffset = 0;
  #known;
  constructor(url, options) {
    super(url, options);
    this.#inside.greeted = (hello) => this.#greet(hello);
    this.#inside.returns = (topic) => this.#rooms.has(roomOf(topic));
    this.on("left", ({ room }) => {
      if (this.#rooms.get(room)?.isIn) this.#rooms.delete(room);
    });
    this.on("status", (status) => {
      if (status === "open") return;
      realClearTimeout(this.#renewal);
      for (const [room, wish] of this.#rooms) {
        realClearTimeout(wish.again);
        if (status === "closed" && !wish.isIn) this.#giveUp(room, this.#closed());
      }
    });
  }
  get clockOffset() {
    return this.#clockOffset;
  }
  get rooms() {
    return this.#inside.topics.names.map(roomOf).filter((room) => room !== void 0);
  }
  request(data, { timeoutMs = ANSWER_MS, signal } = {}) {
    if (!(timeoutMs > 0 && timeoutMs < MOST_MS)) {
      return Promise.reject(failure("ERR_INVALID_ARG", "timeoutMs must be above 0 and below 2^31"));
    }
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { id, promise } = this.#inside.ask({ type: "request", data });
    const giveUp = (error) => this.#inside.outbox.fail(id, error);
    const abort = () => giveUp(signal.reason);
    const timer = realSetTimeout(
      () => giveUp(failure("ERR_TIMEOUT", `No answer within ${timeoutMs} ms`)),
      timeoutMs
    );
    signal?.addEventListener("abort", abort);
    const end = () => {
      realClearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    promise.then(end, end);
    return promise;
  }
  join(room) {
    const known = this.#rooms.get(room);
    if (known) return known.promise;
    const wish = { isIn: false };
    wish.promise = new Promise((resolve, reject) => Object.assign(wish, { resolve, reject }));
    wish.promise.catch(nothing3);
    this.#rooms.set(room, wish);
    if (this.status === "closed") this.#giveUp(room, this.#closed());
    else if (this.status === "open") this.#wish(room);
    return wish.promise;
  }
  leave(room) {
    const asked = this.#rooms.get(room)?.asked;
    this.#giveUp(room, failure("ERR_LEFT", "leave() was called"));
    const promise = this.#leave(room, asked);
    promise.catch(nothing3);
    return promise;
  }
  // The server may deal with a `leave` before a `join` that it still thinks about.
  async #leave(room, asked) {
    await asked;
    if (this.#rooms.has(room)) return;
    if (this.status === "open") await this.#inside.ask({ type: "leave", room }).promise;
    else this.#inside.topics.forget(topicOf(room));
  }
  #greet({ now: now2, expiresAt, userId, anonymous }) {
    this.#clockOffset = now2 - Date.now();
    if (this.#known !== void 0 && this.#known !== userId && !anonymous) {
      for (const room of this.#rooms.keys()) this.#giveUp(room, failure("ERR_USER_CHANGED", "Another user"));
    }
    this.#known = userId;
    this.#renewIn(expiresAt - now2);
    const { outbox } = this.#inside;
    const asked = [...this.#rooms.keys()].map((room) => this.#wish(room));
    outbox.held = asked.length > 0 && asked;
    const release = () => {
      realClearTimeout(timer);
      if (outbox.held !== asked) return;
      outbox.held = false;
      outbox.flush();
    };
    const timer = realSetTimeout(release, asked.length > 0 ? HOLD_MS : 0);
    Promise.all(asked).then(release);
  }
  // Milliseconds that the token is still good for; not a number: for ever.
  #renewIn(ms) {
    realClearTimeout(this.#renewal);
    const pause = ms * (RENEW_AT + Math.random() * RENEW_SPREAD);
    if (typeof this.#inside.options.token !== "function" || !(pause > LEAST_MS && pause < MOST_MS)) return;
    this.#renewal = realSetTimeout(() => this.#renew(), pause);
  }
  // A renewal that fails leaves it at the end of the token: the server closes then, and the next connection has another one.
  async #renew() {
    const timer = this.#renewal;
    try {
      const token = await this.#inside.options.token();
      if (timer !== this.#renewal || this.status !== "open") return;
      const askedAt = Date.now() + this.clockOffset;
      const { expiresAt } = await this.#inside.ask({ type: "renew", token }).promise;
      if (timer === this.#renewal && this.status === "open") this.#renewIn(expiresAt - askedAt);
    } catch (cause) {
      if (timer !== this.#renewal || this.status !== "open") return;
      this.#inside.listeners.emit("error", failure("ERR_TOKEN", "The token could not be renewed", { cause }));
    }
  }
  #wish(room) {
    const wish = this.#rooms.get(room);
    realClearTimeout(wish.again);
    wish.asked = this.#ask(room, wish);
    return wish.asked;
  }
  async #ask(room, wish) {
    try {
      await this.#inside.ask({ type: "join", room }).promise;
      wish.isIn = true;
      wish.resolve();
    } catch (error) {
      if (this.#rooms.get(room) !== wish || error.code === "ERR_UNCERTAIN" || error.code === "ERR_CLOSED")
        return;
      if (wish.isIn && UNKNOWN.includes(error.code)) {
        wish.again = realSetTimeout(() => this.#wish(room), Math.random() * AGAIN_MS);
        return;
      }
      this.#giveUp(room, error);
      if (!wish.isIn) return;
      this.#inside.topics.forget(topicOf(room));
      this.#inside.listeners.emit("error", Object.assign(error, { room }));
    }
  }
  #giveUp(room, error) {
    const wish = this.#rooms.get(room);
    realClearTimeout(wish?.again);
    this.#rooms.delete(room);
    wish?.reject(error);
  }
  get #inside() {
    return this[INSIDE];
  }
  #closed() {
    return failure("ERR_CLOSED", "The client is closed");
  }
};
// Annotate the CommonJS export names for ESM import in node:
0 && (module.exports = {
  CoreClient,
  WebSocketClient,
  closeAdvice
});

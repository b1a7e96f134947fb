import { Backoff } from './backoff.mjs';
import { closeAdvice } from './close.mjs';
import { failure } from './error.mjs';
import { decode } from './frame.mjs';
import { INSIDE } from './inside.mjs';
import { Listeners } from './listeners.mjs';
import { optionsOf, urlOf } from './options.mjs';
import { Outbox } from './outbox.mjs';
import { isOffline, onWake } from './page.mjs';
import { Pulse } from './pulse.mjs';
import { roomOf, Topics } from './topics.mjs';

const PROTOCOL = 'actory.v1';
// A server that takes clients and loses them at once gets pauses that grow on.
const STEADY_MS = 5_000;
const OPEN = 1;
const ANSWERS = ['ack', 'reply', 'error'];

const nothing = () => {};

export class CoreClient {
  #url;
  #options;
  #listeners = new Listeners();
  #outbox;
  #pauses;
  #delays;
  #topics;
  #pulse;
  #status = 'connecting';
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
      () => (this.#helloAt === undefined ? this.#retry() : this.#socket.send('{"type":"ping"}')),
      () => this.#retry(),
    );
    const emitRoom = (name) => (topic) => {
      const room = roomOf(topic);
      if (room !== undefined) this.#listeners.emit(name, { room });
    };
    this.#topics = new Topics({
      message: ({ topic, position, replayed = false, text, data = text }) => {
        const event = { data, topic, room: roomOf(topic), position, replayed };
        this.#listeners.emit('message', text === undefined ? event : { ...event, text });
      },
      missed: (topic, reason) => this.#listeners.emit('missed', { topic, room: roomOf(topic), reason }),
      joined: emitRoom('joined'),
      left: emitRoom('left'),
      ask: (topics) => this.#socket.send(JSON.stringify({ type: 'resume', topics })),
      returns: (topic) => this[INSIDE].returns?.(topic),
      postpone: () => {
        this.#delay ??= setTimeout(() => {
          this.#delay = undefined;
          this.#topics.again();
        }, this.#delays.next());
      },
    });
    this[INSIDE] = {
      ask: (message) => this.#ask(message),
      outbox: this.#outbox,
      topics: this.#topics,
      options: this.#options,
      listeners: this.#listeners,
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
    return this.#ask({ type: 'send', data }).promise;
  }

  close() {
    this.#end();
  }

  reconnect() {
    this.#connect(true);
  }

  #ask(message) {
    try {
      if (this.#status === 'closed') throw failure('ERR_CLOSED', 'The client is closed');
      return this.#outbox.add(message, this.#status === 'open');
    } catch (error) {
      const promise = Promise.reject(error);
      // A mistake of the caller's is told in any case.
      if (error.code !== 'ERR_NOT_SERIALIZABLE') promise.catch(nothing);
      return { promise };
    }
  }

  #fail(error) {
    this.#listeners.emit('error', error);
  }

  async #connect(force) {
    this.#unwatch ??= onWake(() => {
      if (this.#status === 'waiting') this.#connect();
      else if (this.#status === 'open') this.#pulse.doubt();
    });
    this.#drop();
    const attempt = this.#attempt;
    if (isOffline() && !force) return this.#setStatus('waiting');
    this.#setStatus('connecting');
    const { token, WebSocket } = this.#options;
    const protocols = [PROTOCOL];
    if (this.#session) protocols.push(`session.${this.#session}`);
    try {
      // Listeners can be added before anything happens.
      await undefined;
      if (attempt !== this.#attempt) return;
      const secret = await (typeof token === 'function' ? token() : token);
      if (attempt !== this.#attempt) return;
      if (secret !== undefined) protocols.push('bearer', secret);
    } catch (cause) {
      if (attempt === this.#attempt) this.#retry(failure('ERR_TOKEN', 'token failed', { cause }));
      return;
    }
    let socket;
    try {
      socket = new WebSocket(this.#url, protocols);
    } catch (cause) {
      this.#end(failure('ERR_INVALID_ARG', 'WebSocket refuses url or token', { cause }));
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    // `ws` throws where nobody listens. Its end says the rest, but in Node 22 a handshake that fails has none.
    socket.onerror = () => {
      if (socket === this.#socket && socket.readyState === 0) this.#retry();
    };
    socket.onopen = () => {
      if (socket.protocol === PROTOCOL) return;
      this.#end(failure('ERR_PROTOCOL_UNSUPPORTED', `No ${PROTOCOL}`));
    };
    socket.onmessage = ({ data }) => {
      try {
        this.#receive(data);
      } catch (cause) {
        this.#fail(failure('ERR_INVALID_MESSAGE', 'No message', { cause }));
      }
    };
    socket.onclose = ({ code, reason }) => this.#onClose(code, reason);
    this.#pulse.start();
  }

  #onClose(code, reason) {
    const advice = closeAdvice(code);
    if (advice === 'reconnect' || (advice === 'refresh' && typeof this.#options.token === 'function')) {
      this.#retry();
    } else {
      const message = `The server closed: ${code} ${reason}`;
      this.#end(failure('ERR_CLOSED', message, { closeCode: code, reason }));
    }
  }

  #receive(frame) {
    this.#pulse.hear();
    const message = decode(frame);
    const { type } = message;
    if (ANSWERS.includes(type)) {
      // Perhaps nobody waits for it any more.
      if (message.id !== undefined) this.#outbox.settle(message);
      else this.#fail(failure(message.code, message.message));
    } else if (type === 'hello') this.#onHello(message);
    // Messages before hello can't be placed.
    else if (this.#helloAt !== undefined) {
      if (type === 'resumed' && message.reason !== 'unavailable') this.#delays.reset();
      this.#topics.receive(message, frame.length ?? frame.byteLength);
    }
  }

  #onHello(message) {
    if (this.#helloAt !== undefined) return;
    const attempt = this.#attempt;
    this.#helloAt = performance.now();
    const isOther = this.#userId !== undefined && message.userId !== this.#userId && !message.anonymous;
    // Somebody else meant to say the messages that wait.
    if (isOther) this.#outbox.clear(failure('ERR_USER_CHANGED', 'Another user'));
    this.#userId = message.userId;
    this.#session = message.session;
    this.#topics.receive(message);
    if (attempt !== this.#attempt) return;
    const socket = this.#socket;
    this[INSIDE].greeted?.(message, isOther);
    // One that is about to close would drop it without a word.
    this.#outbox.open((frame) => {
      if (socket.readyState !== OPEN) return false;
      socket.send(frame);
      return true;
    });
    this.#setStatus('open');
  }

  // Comes back after a pause.
  #retry(error) {
    if (performance.now() - this.#helloAt >= STEADY_MS) this.#pauses.reset();
    this.#drop();
    this.#pause = setTimeout(() => this.#connect(), this.#pauses.next());
    this.#setStatus('waiting');
    if (error) this.#fail(error);
  }

  #end(error) {
    this.#outbox.clear(error ?? failure('ERR_CLOSED', 'The client is closed'));
    this.#drop();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#setStatus('closed');
    if (error) this.#fail(error);
  }

  #drop() {
    this.#attempt += 1;
    clearTimeout(this.#pause);
    clearTimeout(this.#delay);
    this.#delay = undefined;
    this.#delays.reset();
    this.#pulse.stop();
    this.#helloAt = undefined;
    this.#outbox.cut();
    this.#topics.cut();
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #setStatus(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#listeners.emit('status', status);
  }
}

import { ASK, GIVE_UP } from './ask.mjs';
import { CoreClient } from './core.mjs';
import { failure } from './error.mjs';

const ANSWER_MS = 10_000;

export class WebSocketClient extends CoreClient {
  request(data, { timeoutMs = ANSWER_MS, signal } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { id, promise } = this[ASK]('request', data);
    const giveUp = (error) => this[GIVE_UP](id, error);
    const abort = () => giveUp(signal.reason);
    const timer = setTimeout(
      () => giveUp(failure('ERR_TIMEOUT', `No answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', abort);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    promise.then(end, end);
    return promise;
  }
}

import { Inbox } from '../../client/support/inbox.mjs';

/** A client whose requests the test answers: `{ data, options, resolve, reject }`. */
export class FakeClient {
  status = 'open';
  userId = '42';
  rooms = [];
  requests = new Inbox();

  on() {
    return () => {};
  }

  request(data, options) {
    if (data === undefined) throw new TypeError('nothing to ask');
    return new Promise((resolve, reject) => {
      options.signal.addEventListener('abort', () => reject(options.signal.reason));
      this.requests.push({ data, options, resolve, reject });
    });
  }
}

// A crossws adapter over a manager without a server: what Nitro, h3 and others who build on crossws would need of this package.
// crossws runs its own hooks, and keeps topics and peers; its parts for adapters are files of the package, not exports.

import { WebSocketManager } from '../../index.mjs';
import {
  AdapterHookable,
  adapterUtils,
  getPeers,
  toBufferLike,
} from '../../node_modules/crossws/dist/_chunks/adapter.mjs';
import { WSError } from '../../node_modules/crossws/dist/_chunks/error.mjs';
import { Message, Peer } from '../../node_modules/crossws/dist/_chunks/peer.mjs';

/** Headers of a request that a peer shows: all of them, for crossws names none. */
const asRequest = (req) => {
  const { host = 'localhost' } = req.headers;
  const headers = new Headers();
  for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i], req.rawHeaders[i + 1]);
  return new Request(new URL(req.url, `${req.socket.encrypted ? 'https' : 'http'}://${host}`), { headers });
};

/** Writes an answer of a hook's to the socket of an upgrade that no manager has taken. */
async function answer(socket, response) {
  const body = Buffer.from(await response.arrayBuffer());
  const lines = [...response.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = `HTTP/1.1 ${response.status} ${response.statusText}\r\n${lines}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]));
}

class ActoryPeer extends Peer {
  get id() {
    return this._internal.connection.id;
  }

  get remoteAddress() {
    return this._internal.connection.remoteAddress;
  }

  get bufferedAmount() {
    return this._internal.connection.bufferedAmount;
  }

  send(data) {
    this._internal.connection.send(toBufferLike(data));
  }

  _publish(topic, data) {
    const message = toBufferLike(data);
    for (const peer of this.peers) {
      if (peer !== this && peer.topics.has(topic)) peer._internal.connection.send(message);
    }
  }

  close(code, reason) {
    this._internal.connection.close(code, reason);
  }

  terminate() {
    this._internal.connection.terminate();
  }

  ping(data) {
    this._internal.connection.ping(data);
  }
}

/** The `peer.websocket` of crossws. */
const websocketOf = (connection) => ({
  get readyState() {
    return connection.isOpen ? 1 : 3;
  },
  get bufferedAmount() {
    return connection.bufferedAmount;
  },
  protocol: connection.protocol,
  binaryType: 'nodebuffer',
});

/** As crossws' adapter for Node: `handleUpgrade` takes what the server's `upgrade` event says. */
export default function actoryAdapter(options = {}) {
  const hooks = new AdapterHookable(options);
  const peers = new Map();
  const manager = new WebSocketManager(null, {
    redis: false,
    relay: false,
    allowedOrigins: '*',
    ...options.manager,
  });

  const peerOf = ({ data }) => data.peer;
  manager.on('connection', (connection) => {
    const { namespace, request, context } = connection.data;
    const inNamespace = getPeers(peers, namespace);
    const ws = websocketOf(connection);
    const peer = new ActoryPeer({ connection, ws, request, context, namespace, peers: inNamespace });
    connection.data.peer = peer;
    inNamespace.add(peer);
    return hooks.callHook('open', peer);
  });
  manager.on('message', (connection, data) => {
    const peer = peerOf(connection);
    return hooks.callHook('message', peer, new Message(data, peer));
  });
  manager.on('disconnect', (connection, code, reason, by) => {
    const peer = peerOf(connection);
    peer.peers.delete(peer);
    if (by === 'network') hooks.callHook('error', peer, new WSError(reason));
    return hooks.callHook('close', peer, { code, reason });
  });

  return {
    ...adapterUtils(peers, options),
    manager,
    async handleUpgrade(req, socket, head) {
      const request = asRequest(req);
      const { upgradeHeaders, endResponse, context, namespace } = await hooks.upgrade(request);
      if (endResponse) return answer(socket, endResponse);
      const headers = new Headers(upgradeHeaders);
      const protocol = headers.get('sec-websocket-protocol') ?? undefined;
      headers.delete('sec-websocket-protocol');
      const data = { request, context, namespace };
      return manager.handleUpgrade(req, socket, head, {
        userId: crypto.randomUUID(),
        protocol,
        headers,
        data,
      });
    },
  };
}

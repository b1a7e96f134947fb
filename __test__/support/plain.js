'use strict';

const http = require('node:http');

/** Answers a plain request with what it asks for. */
const answer = (req, res) => {
  res.setHeader('X-Upgrade', String(req.headers.upgrade));
  req.resume().on('end', () => res.end(`${req.method} ${req.url}.`));
};

/** True if this release of Node asks a function of the server's which requests are upgrades. */
const asks = 'shouldUpgradeCallback' in http.createServer();

module.exports = { answer, asks };

// pm2 start ecosystem.config.cjs
module.exports = {
  apps: [
    {
      name: 'server',
      script: 'server.mjs',
      // pm2 kills after 1.6 s otherwise, and `onClosed` may not run. More than `deadlineMs`, which is 26 s with `drainMs: 20_000`,
      // and 7 s by default. A server that has ended sooner isn't waited for.
      kill_timeout: 45_000,
    },
  ],
};

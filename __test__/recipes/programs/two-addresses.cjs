// Has `localhost` be both loopback addresses, as on most machines but not in every container.
const dns = require('node:dns');

const { lookup } = dns;
dns.lookup = (name, options, callback) => {
  if (name !== 'localhost' || !options?.all) return lookup(name, options, callback);
  const addresses = [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ];
  process.nextTick(callback, null, addresses);
};

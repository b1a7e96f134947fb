// Around the CommonJS one, so that both kinds of importers share one module.
import testing from './index.js';

export const { createTestServer } = testing;

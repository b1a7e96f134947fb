import type { NextConfig } from 'next';

export default {
  // A native addon can't be bundled.
  serverExternalPackages: ['@actory/websocket'],
  output: process.env.STANDALONE ? 'standalone' : undefined,
} satisfies NextConfig;

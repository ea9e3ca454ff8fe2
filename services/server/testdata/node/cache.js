// Reads a freshet-server through the client-side cache of npm's redis: cache.js PORT. It prints lines when the test may publish, and what it reads.
const assert = require('node:assert/strict')
const { createClient, BasicClientSideCache } = require('redis')

async function main() {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0 })
  const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP: 3, clientSideCache: cache, socket: { reconnectStrategy: false } })
  client.on('error', (error) => { throw error })
  await client.connect()
  const first = await client.get('cities:k1')
  const other = await client.get('cities:k2')
  for (let i = 0; i < 100; i++) assert.equal(await client.get('cities:k1'), first)
  assert.equal(cache.stats().hitCount, 100)
  assert.equal(cache.stats().missCount, 2)
  const invalidated = new Promise((resolve) => cache.once('invalidate', (key) => resolve(String(key))))
  console.log('reads', first)
  assert.equal(await invalidated, 'cities:k1')
  console.log('reads', await client.get('cities:k1'))
  assert.equal(await client.get('cities:k2'), other) // from the cache
  assert.equal(cache.stats().hitCount, 101)
  assert.equal(cache.stats().missCount, 3)
  await client.close()
}

main()

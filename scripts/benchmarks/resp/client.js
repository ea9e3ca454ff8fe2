// Times lookups one after the other: client.js http|resp HOST PORT DATASET RECORDS CALLS. Prints JSON.
const http = require('http')

const [protocol, host, port, dataset, records, calls] = process.argv.slice(2)

async function client() {
  if (protocol === 'resp') {
    const redis = require('redis')
    const library = 'redis ' + require('redis/package.json').version
    const c = redis.createClient({ socket: { host, port: Number(port) } })
    await c.connect()
    return { library, get: key => c.get(dataset + ':' + key), close: () => c.destroy() }
  }
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const get = key => new Promise((resolve, reject) => {
    http.get({ host, port, agent, path: '/v1/datasets/' + dataset + '/records/' + key }, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', text => { body += text })
      response.on('end', () => resolve(response.statusCode === 200 ? body : null))
    }).on('error', reject)
  })
  return { library: 'http of Node ' + process.version, get, close: () => agent.destroy() }
}

async function main() {
  let c
  try {
    c = await client()
  } catch (e) {
    if (e.code !== 'MODULE_NOT_FOUND') throw e
    console.log(JSON.stringify({ error: e.message.split('\n')[0] }))
    return
  }
  const times = []
  let hits = 0
  const total = Number(calls)
  for (let i = -Math.floor(total / 10); i < total; i++) { // the first tenth warms up
    const key = String(Math.floor(Math.random() * Number(records))).padStart(12, '0')
    const start = process.hrtime.bigint()
    const value = await c.get(key)
    const took = process.hrtime.bigint() - start
    if (i >= 0) {
      times.push(Number(took) / 1000)
      if (value !== null && value.includes(key)) hits++
    }
  }
  times.sort((a, b) => a - b)
  console.log(JSON.stringify({
    library: c.library, p50_us: times[Math.floor(times.length / 2)], p99_us: times[Math.floor(times.length * 99 / 100)], hits
  }))
  c.close()
}

main().catch(e => { console.error(e); process.exit(1) })

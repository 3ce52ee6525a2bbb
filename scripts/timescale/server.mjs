// PostgreSQL 17 with TimescaleDB, compiled to WASM, on a loopback port: `node server.mjs PORT`. In memory, one connection.
import { PGlite } from '@electric-sql/pglite'
import { uuid_ossp } from '@electric-sql/pglite/contrib/uuid_ossp'
import { timescaledb } from '@electric-sql/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const db = await PGlite.create({ extensions: { timescaledb, uuid_ossp } })
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: Number(process.argv[2]) })
// Connections follow one another in one session: what the last one prepared must not meet the next one's names.
const attach = server.attachSocketToNewHandler.bind(server)
server.attachSocketToNewHandler = async (socket, info) => {
  await db.exec('DEALLOCATE ALL')
  return attach(socket, info)
}
await server.start()
console.log('listening')

// kafkajs: pure JavaScript, unmaintained, in wide use. It writes; another client reads it back,
// because its consumer cannot do without a group. The records are those of python/records.py.

const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const [bootstrap, prefix] = process.argv.slice(2)
const PARTITIONS = 3
const COUNT = 300
const LENGTHS = [0, 1, 10, 100, 1000, 20000]
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz'

const value = (i) => {
  const length = LENGTHS[i % LENGTHS.length]
  return (`${i}:` + ALPHABET.repeat(length / 26 + 1)).slice(0, length)
}

const messages = Array.from({ length: COUNT }, (_, i) => ({
  partition: i % PARTITIONS,
  key: i % 10 === 7 ? null : `k${i}`,
  value: value(i),
  headers: { n: String(i) },
}))

const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR })

async function run(name, producerSettings, sendSettings) {
  const topic = `${prefix}-${name}`
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...producerSettings })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const made = await admin.createTopics({
      topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }],
    })
    if (!made) throw new Error('the topic was there already')
    await admin.fetchTopicOffsets(topic) // Retries until every partition answers.
    await producer.connect()
    // Ten requests, so that sequence numbers matter.
    for (let from = 0; from < COUNT; from += 30) {
      await producer.send({ topic, messages: messages.slice(from, from + 30), ...sendSettings })
    }
    const offsets = await admin.fetchTopicOffsets(topic)
    // With acks 0 nobody says when the last records are in.
    const stored = offsets.reduce((sum, { offset }) => sum + Number(offset), 0)
    if (stored !== COUNT && sendSettings.acks !== 0) throw new Error(`${stored} records stored`)
    console.log(`${name}\tok\t`)
  } catch (error) {
    console.log(`${name}\tfail\t${String(error).replace(/\s+/g, ' ')}`)
  } finally {
    await producer.disconnect().catch(() => {})
    await admin.disconnect().catch(() => {})
  }
}

async function main() {
  await run('codec-none', {}, { acks: -1 })
  await run('codec-gzip', {}, { acks: -1, compression: CompressionTypes.GZIP })
  await run('acks-0', {}, { acks: 0 })
  await run('acks-1', {}, { acks: 1 })
  await run('idempotent', { idempotent: true, maxInFlightRequests: 1 }, { acks: -1 })
}

main()

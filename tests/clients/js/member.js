// kafkajs in a group; ../python/groups.py says what a member is told and what it tells.

const readline = require('readline')
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, groupId] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'member', brokers: [bootstrap], logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: 6000,
  heartbeatInterval: 500,
  rebalanceTimeout: 7000,
  maxWaitTimeInMs: 200,
})

const say = (...words) => console.log(words.join(' '))

async function main() {
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const owned = payload.memberAssignment[topic] || []
    say('owns', ...[...owned].sort((a, b) => a - b))
  })
  consumer.on(consumer.events.REBALANCING, () => say('owns'))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    // It commits what it has handed out before it joins again.
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => say('got', partition, message.offset),
  })
  const orders = readline.createInterface({ input: process.stdin })
  for await (const order of orders) {
    if (order.trim() === 'leave') break
  }
  await consumer.disconnect()
  say('left')
  process.exit(0)
}

main()

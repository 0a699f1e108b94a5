# The cluster of docker-compose.yml under the names that users of earlier versions know.
# Everything else is cargo's: see README.md.

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
CARGO ?= cargo
BROKERS ?= localhost:9091,localhost:9092,localhost:9093
CTL = $(COMPOSE) exec -T node1 walrusctl
LOAD = $(CARGO) run --release --locked -q -p walrus-load -- -b $(BROKERS)
TESTS = $(CARGO) test --locked -p walrus-tests
HISTORY ?= /tmp/walrus-stress.jsonl

.PHONY: help test cluster-bootstrap cluster-up cluster-down cluster-restart cluster-logs \
	cluster-clean cluster-status cluster-hotjoin cluster-test cluster-test-logs \
	cluster-test-rollover cluster-test-resilience cluster-test-recovery cluster-test-stress \
	cluster-test-multi-topic

help: ## Tell what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 28

test: ## Run all tests
	$(CARGO) test --workspace --locked

cluster-bootstrap: ## Build the image, start three nodes and wait until the cluster is well
	$(COMPOSE) build
	$(MAKE) cluster-up

cluster-up: ## Start three nodes and wait until the cluster is well
	$(COMPOSE) up -d
	until $(CTL) node ready >/dev/null 2>&1; do sleep 1; done
	$(CTL) cluster health --wait --timeout 2m

cluster-hotjoin: ## Have the fourth node join
	$(COMPOSE) --profile hotjoin up -d node4
	until $(COMPOSE) --profile hotjoin exec -T node4 walrusctl node ready >/dev/null 2>&1; do sleep 1; done
	$(CTL) node list

cluster-status: ## Show nodes, partitions, copies, and what is wrong
	$(CTL) cluster status
	$(CTL) cluster health

cluster-restart: ## Restart one node after the other; clients notice nothing
	for node in node1 node2 node3; do \
		$(COMPOSE) restart $$node || exit 1; \
		until $(COMPOSE) exec -T $$node walrusctl node ready >/dev/null 2>&1; do sleep 1; done; \
		$(COMPOSE) exec -T $$node walrusctl cluster health --wait --timeout 2m || exit 1; \
	done

cluster-logs: ## Follow what the nodes log
	$(COMPOSE) --profile hotjoin logs --follow

cluster-down: ## Stop the nodes; what they hold stays
	$(COMPOSE) --profile hotjoin down

cluster-clean: ## Stop the nodes and delete what they hold
	$(COMPOSE) --profile hotjoin down --volumes

# The tests below start nodes of their own, without containers.
cluster-test: cluster-test-logs cluster-test-rollover cluster-test-resilience cluster-test-recovery ## Test clusters

cluster-test-logs: ## Entries and records, written at any node and read at any other
	$(TESTS) --test text --test compose

cluster-test-rollover: ## Rolls under load
	$(TESTS) --test segments

cluster-test-resilience: ## Nodes that are killed, frozen, cut off
	$(TESTS) --test cluster --test fault_table --test partitions --test wall_clock

cluster-test-recovery: ## kill -9 under load, again and again
	$(TESTS) --test crash

# These two load the running cluster.
cluster-test-stress: ## A minute of idempotent producing, all of it read back and held against its acks
	rm -f $(HISTORY)
	$(LOAD) create-topic -t stress -p 6 --replication-factor 3
	$(LOAD) verify produce -t stress -p 6 --rate 0 --seconds 60 --history $(HISTORY)
	$(LOAD) verify check -t stress -p 6 --history $(HISTORY)
	$(LOAD) delete-topic -t stress -p 6

cluster-test-multi-topic: ## A hundred topics at once
	$(LOAD) create-topic -t many --topics 100 -p 1 --replication-factor 3
	$(LOAD) produce -t many --topics 100 -p 1 -s 1024 --seconds 60
	$(LOAD) consume -t many --topics 100 -p 1
	$(LOAD) delete-topic -t many --topics 100 -p 1

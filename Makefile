# What there is to do, in one word each. `make` alone says what there is.
COMPOSE = docker compose
POSTGRES = $(COMPOSE) --file compose.postgres.yaml

.DEFAULT_GOAL = help
.PHONY: help env up down secrets up-postgres down-postgres psql run test check

help: ## Says what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

env: ## Makes .env, for settings of your own, unless it is there
	@test -e .env || (umask 077 && cp .env.example .env)

up: env ## Starts the service in a container, with its farm in a volume
	$(COMPOSE) up --build --detach --wait
	@echo 'the password of the first admin: $(COMPOSE) cp botfarm:/home/nonroot/botfarm-data/farm.db.admin-password .'

down: ## Stops it; the farm stays
	$(COMPOSE) down

secrets: ## Makes the secrets of compose.postgres.yaml, those that are not there
	@mkdir -p -m 700 secrets
	@set -eu; umask 022; cd secrets; \
	[ -e postgres_password ] || openssl rand -hex 24 > postgres_password; \
	[ -e botfarm_store ] || echo "postgres://botfarm:$$(cat postgres_password)@postgres:5432/botfarm" > botfarm_store; \
	[ -e botfarm_key ] || openssl rand -base64 32 > botfarm_key; \
	[ -e botfarm_admin_password ] || openssl rand -base64 24 > botfarm_admin_password

up-postgres: env secrets ## Starts the service and a PostgreSQL in containers
	$(POSTGRES) up --build --detach --wait

down-postgres: ## Stops them; the database stays
	$(POSTGRES) down

psql: ## Opens a session in the database of up-postgres
	$(POSTGRES) exec postgres psql --username botfarm botfarm

run: ## Starts the service without a container, with made-up accounts
	cargo run --package botfarm-cli -- serve --bots examples/bots.csv

test: ## Runs every test, and installs what they need where it may
	.ci/test

check: ## All that a change must pass
	.ci/run

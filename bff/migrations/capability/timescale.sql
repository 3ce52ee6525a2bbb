-- Run by the owner after the numbered migrations, at each of them; changes nothing the second time.
-- Three tiers under one view name: a plain table; a hypertable (Apache licence); with compression and a continuous
-- aggregate (TSL).
DO $step$
DECLARE
  licence text;
  role_before text := current_setting('role');
BEGIN
  -- The loader defines this setting. Creating the extension on a server that has not preloaded it drops the connection.
  IF current_setting('timescaledb.disable_load', true) IS NULL
     AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
    RETURN;
  END IF;
  BEGIN
    EXECUTE 'CREATE EXTENSION IF NOT EXISTS timescaledb';
  EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'no right to create the extension: plain table';
    RETURN;
  END;
  licence := current_setting('timescaledb.license', true);
  PERFORM create_hypertable('health_metrics', 'time', chunk_time_interval => interval '7 days',
    if_not_exists => true, migrate_data => true);
  IF licence <> 'timescale' THEN
    RETURN;
  END IF;
  EXECUTE $q$ALTER TABLE health_metrics SET (timescaledb.compress, timescaledb.compress_segmentby = 'user_id,source',
    timescaledb.compress_orderby = 'time DESC')$q$;
  PERFORM add_compression_policy('health_metrics', interval '40 days', if_not_exists => true);
  -- Only its owner may refresh the aggregate, and the worker has to: after an erasure, and for rows that come later than
  -- the policy looks back. So it belongs to a role of its own, of which both are members. TimescaleDB runs the policy as
  -- that role and wants LOGIN for it; without a password nobody can log in as it.
  BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bio_aggregates') THEN
      EXECUTE 'CREATE ROLE bio_aggregates LOGIN';
    END IF;
    EXECUTE format('GRANT bio_aggregates TO bio_worker, %I', current_user);
    EXECUTE 'GRANT SELECT, TRIGGER ON health_metrics TO bio_aggregates';
    EXECUTE 'GRANT USAGE, CREATE ON SCHEMA public TO bio_aggregates';
    PERFORM set_config('role', 'bio_aggregates', true);
  EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'no right to create or grant the role bio_aggregates, so the worker cannot refresh the aggregate: '
      'let an administrator create it (LOGIN, no password) and grant it to this role and to bio_worker, then drop '
      'health_daily and health_daily_cagg and migrate again';
  END;
  EXECUTE $q$CREATE MATERIALIZED VIEW IF NOT EXISTS health_daily_cagg WITH (timescaledb.continuous) AS
    SELECT user_id, source, time_bucket('1 day', time) AS day, sum(steps_delta) AS steps,
      sum(active_energy_kcal) AS active_energy_kcal, avg(resting_hr) AS resting_hr, avg(hrv_ms) AS hrv_ms,
      max(sleep_score) AS sleep_score, count(*) AS rows
    FROM health_metrics GROUP BY 1, 2, 3 WITH NO DATA$q$;
  -- Without this the newest rows do not show until a refresh.
  EXECUTE 'ALTER MATERIALIZED VIEW health_daily_cagg SET (timescaledb.materialized_only = false)';
  PERFORM add_continuous_aggregate_policy('health_daily_cagg', start_offset => interval '7 days',
    end_offset => interval '1 hour', schedule_interval => interval '1 hour', if_not_exists => true);
  PERFORM set_config('role', role_before, true);
  GRANT SELECT ON health_daily_cagg TO bio_worker;
  EXECUTE $q$CREATE OR REPLACE VIEW health_daily AS SELECT user_id, source, day, steps, active_energy_kcal,
    resting_hr, hrv_ms, sleep_score, rows FROM health_daily_cagg$q$;
END $step$;

DO $view$
BEGIN
  IF to_regclass('health_daily') IS NULL THEN
    CREATE VIEW health_daily AS
      SELECT user_id, source, date_trunc('day', time, 'UTC') AS day, sum(steps_delta) AS steps,
        sum(active_energy_kcal) AS active_energy_kcal, avg(resting_hr) AS resting_hr, avg(hrv_ms) AS hrv_ms,
        max(sleep_score) AS sleep_score, count(*) AS rows
      FROM health_metrics GROUP BY 1, 2, 3;
  END IF;
  GRANT SELECT ON health_daily TO bio_worker;
END $view$;

-- The owner of the schema runs this. Processes log in as members of these two roles, never as the owner:
--   bio_api     requests of one user at a time
--   bio_worker  the same, and the machinery that serves every user (outbox, queue, erasure)
-- Neither has BYPASSRLS. Roles belong to the server, so they may exist from another database of it.
DO $$
DECLARE wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['bio_api', 'bio_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
  END LOOP;
END $$;

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- What is ours to run with, and no user's data model.
CREATE SCHEMA ops;
GRANT USAGE ON SCHEMA ops TO bio_api, bio_worker;
GRANT USAGE ON SCHEMA public TO bio_api, bio_worker;

-- The user of this transaction. After a transaction-local setting ends the value is '', not NULL.
CREATE FUNCTION ops.current_user_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

-- The verified subject of the token, while its user is looked up.
CREATE FUNCTION ops.current_subject() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('app.subject', true), '') $$;

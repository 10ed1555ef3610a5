-- Creates the role that the programs log in with, and the database that it owns. Run by a superuser, with psql 14 or later,
-- which reads the names and the password from the environment:
--
--   HAMRO_ROLE, HAMRO_PASSWORD, HAMRO_DATABASE
--
-- The role is no superuser, so nothing that the programs can be made to do reaches beyond their database. Running this
-- again changes the password, and hands over what an earlier installation has created as a superuser.

\set ON_ERROR_STOP on
\getenv role HAMRO_ROLE
\getenv password HAMRO_PASSWORD
\getenv database HAMRO_DATABASE

SELECT format('CREATE ROLE %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L', :'role', :'password')
\gexec

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', :'database', :'role')
\gexec

\connect :database
-- Tables bring their indexes, identity sequences and triggers along. No extension is installed in this schema.
SELECT format('ALTER %s public.%I OWNER TO %I',
              CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname, :'role')
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
    AND pg_get_userbyid(relowner) <> :'role'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i', 'e'))
\gexec
SELECT format('ALTER ROUTINE %s OWNER TO %I', oid::regprocedure, :'role')
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND pg_get_userbyid(proowner) <> :'role'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
\gexec
SELECT format('ALTER SCHEMA public OWNER TO %I', :'role')
\gexec

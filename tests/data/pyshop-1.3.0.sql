-- A database as pyshop 1.3.0 wrote it itself: its installer made it, files came by its upload view, and "alpha" was
-- mirrored by its own client from an index on this machine (Python 3.6, SQLAlchemy 1.2; bcrypt by the library of that
-- name, in the place of cryptacular). Changed since: the host in two URLs. Who can log in has the password `camembert`,
-- admin and pip have `changeme`.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE permission (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	name VARCHAR(255) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO permission VALUES(1,'2026-11-21 12:02:11','user_view');
INSERT INTO permission VALUES(2,'2026-11-21 12:02:11','upload_releasefile');
INSERT INTO permission VALUES(3,'2026-11-21 12:02:11','download_releasefile');
INSERT INTO permission VALUES(4,'2026-11-21 12:02:11','admin_view');
CREATE TABLE IF NOT EXISTS "group" (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	name VARCHAR(255) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "group" VALUES(1,'2026-11-21 12:02:11','admin');
INSERT INTO "group" VALUES(2,'2026-11-21 12:02:11','developer');
INSERT INTO "group" VALUES(3,'2026-11-21 12:02:11','installer');
CREATE TABLE user (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	login VARCHAR(255) NOT NULL, 
	password VARCHAR(60), 
	firstname VARCHAR(255), 
	lastname VARCHAR(255), 
	email VARCHAR(255), 
	local BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	CHECK (local IN (0, 1))
);
INSERT INTO user VALUES(1,'2026-11-21 12:02:11','admin','$2a$10$ruq46VeBv810h7ZSWXomM.IrZWV/hVLh/9Kx4pLtqDGJqfYgXFwJS',NULL,NULL,'root@localhost.localdomain',1);
INSERT INTO user VALUES(2,'2026-11-21 12:02:11','pip','$2a$10$gw14HTuW.pnE24q94XkV5O0xSrO6TlTeLq7/eoEm0J8quI09mj.F2',NULL,NULL,NULL,1);
INSERT INTO user VALUES(3,'2026-11-21 12:02:12','mia','$2a$10$8H8utMpz4tbX.dW9rDUiw.rKn94JJpCj8AqY6/Ff.zL0s0q1b90a6',NULL,NULL,'mia@example.com',1);
INSERT INTO user VALUES(4,'2026-11-21 12:02:12','bob','$2a$10$IqJ0.yeW4ep07QyZzQhxbOKfu/cZKGkGvv3u1xkjlTzX.2gwKTcnW',NULL,NULL,'bob@example.com',1);
INSERT INTO user VALUES(5,'2026-11-21 12:02:12','eve','$2a$10$CqSxVQMkr8MFbxvOaafdCeYSNa3WrQebXayaQIA3d6HcEEk3LF5C.',NULL,NULL,'eve@example.com',1);
INSERT INTO user VALUES(6,'2026-11-21 12:02:12','none','$2a$10$2F.nGvh7dFNY6XqKdriyXew78Pl3QvF.ZsuqGiONWGKA9ulOrjA62',NULL,NULL,'none@example.com',1);
INSERT INTO user VALUES(7,'2026-11-21 12:02:12','ldap','$2a$10$CFlL1eQWLdlgCONeJrdEP.NmjBizPJb.gZABaavRJu5LdTmLQiKUu',NULL,NULL,'l@example.com',1);
INSERT INTO user VALUES(8,'2026-11-21 12:02:12','Author',NULL,NULL,NULL,NULL,0);
INSERT INTO user VALUES(9,'2026-11-21 12:02:13','Helper',NULL,NULL,NULL,NULL,0);
CREATE TABLE classifier (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	name VARCHAR(255) NOT NULL, 
	parent_id INTEGER, 
	category VARCHAR(80) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	FOREIGN KEY(parent_id) REFERENCES classifier (id)
);
CREATE TABLE package (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	update_at DATETIME, 
	name VARCHAR(200), 
	local BOOLEAN NOT NULL, 
	downloads INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	CHECK (local IN (0, 1))
);
INSERT INTO package VALUES(1,'2026-11-21 12:02:12','2026-11-21 12:02:13','acme',1,0);
INSERT INTO package VALUES(2,'2026-11-21 12:02:13','2026-11-21 12:02:13','Acme.App',1,0);
INSERT INTO package VALUES(3,'2026-11-21 12:02:13','2026-11-21 12:02:14','alpha',0,1);
CREATE TABLE group__permission (
	group_id INTEGER, 
	permission_id INTEGER, 
	FOREIGN KEY(group_id) REFERENCES "group" (id), 
	FOREIGN KEY(permission_id) REFERENCES permission (id)
);
INSERT INTO group__permission VALUES(2,1);
INSERT INTO group__permission VALUES(2,3);
INSERT INTO group__permission VALUES(2,2);
INSERT INTO group__permission VALUES(3,3);
INSERT INTO group__permission VALUES(1,1);
INSERT INTO group__permission VALUES(1,3);
INSERT INTO group__permission VALUES(1,2);
INSERT INTO group__permission VALUES(1,4);
CREATE TABLE user__group (
	group_id INTEGER, 
	user_id INTEGER, 
	FOREIGN KEY(group_id) REFERENCES "group" (id), 
	FOREIGN KEY(user_id) REFERENCES user (id)
);
INSERT INTO user__group VALUES(3,2);
INSERT INTO user__group VALUES(1,1);
INSERT INTO user__group VALUES(3,5);
INSERT INTO user__group VALUES(2,4);
INSERT INTO user__group VALUES(2,7);
INSERT INTO user__group VALUES(2,3);
INSERT INTO user__group VALUES(3,3);
CREATE TABLE package__owner (
	package_id INTEGER, 
	owner_id INTEGER, 
	FOREIGN KEY(package_id) REFERENCES package (id), 
	FOREIGN KEY(owner_id) REFERENCES user (id)
);
INSERT INTO package__owner VALUES(1,3);
INSERT INTO package__owner VALUES(2,4);
INSERT INTO package__owner VALUES(3,8);
CREATE TABLE package__maintainer (
	package_id INTEGER, 
	maintainer_id INTEGER, 
	FOREIGN KEY(package_id) REFERENCES package (id), 
	FOREIGN KEY(maintainer_id) REFERENCES user (id)
);
INSERT INTO package__maintainer VALUES(3,9);
CREATE TABLE classifier__package (
	classifier_id INTEGER, 
	package_id INTEGER, 
	FOREIGN KEY(classifier_id) REFERENCES classifier (id), 
	FOREIGN KEY(package_id) REFERENCES package (id)
);
CREATE TABLE release (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	version VARCHAR(60) NOT NULL, 
	summary VARCHAR(255), 
	downloads INTEGER, 
	package_id INTEGER NOT NULL, 
	author_id INTEGER, 
	maintainer_id INTEGER, 
	stable_version VARCHAR(60), 
	home_page VARCHAR(255), 
	license TEXT, 
	description TEXT, 
	keywords VARCHAR(255), 
	platform VARCHAR(80), 
	download_url VARCHAR(800), 
	bugtrack_url VARCHAR(800), 
	docs_url VARCHAR(800), 
	PRIMARY KEY (id), 
	FOREIGN KEY(package_id) REFERENCES package (id), 
	FOREIGN KEY(author_id) REFERENCES user (id), 
	FOREIGN KEY(maintainer_id) REFERENCES user (id)
);
INSERT INTO "release" VALUES(1,'2026-11-21 12:02:12','1.0',NULL,0,1,3,NULL,NULL,NULL,NULL,NULL,NULL,'any',NULL,NULL,NULL);
INSERT INTO "release" VALUES(2,'2026-11-21 12:02:13','2.0',NULL,0,2,4,NULL,NULL,NULL,NULL,NULL,NULL,'any',NULL,NULL,NULL);
INSERT INTO "release" VALUES(3,'2026-11-21 12:02:14','2.0','alpha',0,3,8,NULL,NULL,'','','','','','',NULL,NULL);
INSERT INTO "release" VALUES(4,'2026-11-21 12:02:14','1.0','alpha',1,3,8,NULL,NULL,'','','','','','',NULL,NULL);
CREATE TABLE classifier__release (
	classifier_id INTEGER, 
	release_id INTEGER, 
	FOREIGN KEY(classifier_id) REFERENCES classifier (id) ON DELETE cascade, 
	FOREIGN KEY(release_id) REFERENCES release (id)
);
CREATE TABLE release_file (
	id INTEGER NOT NULL, 
	created_at DATETIME, 
	release_id INTEGER NOT NULL, 
	filename VARCHAR(200) NOT NULL, 
	md5_digest VARCHAR(50), 
	size INTEGER, 
	package_type VARCHAR(13) NOT NULL, 
	python_version VARCHAR(25), 
	url VARCHAR(1024), 
	downloads INTEGER, 
	has_sig BOOLEAN, 
	comment_text TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(release_id) REFERENCES release (id), 
	UNIQUE (filename), 
	CONSTRAINT enum_release_file_package_type CHECK (package_type IN ('sdist', 'bdist_egg', 'bdist_msi', 'bdist_dmg', 'bdist_rpm', 'bdist_dumb', 'bdist_wininst', 'bdist_wheel')), 
	CHECK (has_sig IN (0, 1))
);
INSERT INTO release_file VALUES(1,'2026-11-21 12:02:12',1,'acme-1.0-py3-none-any.whl','4938fc351d5fd056f6035d4393a7fb2b',867,'bdist_wheel','py3',NULL,0,0,NULL);
INSERT INTO release_file VALUES(2,'2026-11-21 12:02:13',1,'acme-1.0.tar.gz','965feb81bcf1e12d2351a0de1bdee186',348,'sdist','py3',NULL,0,0,NULL);
INSERT INTO release_file VALUES(3,'2026-11-21 12:02:13',2,'acme_app-2.0-py3-none-any.whl','8cabfb2f9552fb8fb41efc78b56bfc2f',903,'bdist_wheel','py3',NULL,0,0,NULL);
INSERT INTO release_file VALUES(4,'2026-11-21 12:02:14',3,'alpha-2.0-py3-none-any.whl','b5924fcdc383bd7b936a5c0040a9981b',876,'bdist_wheel','py3','https://packages.example.com/packages/alpha-2.0-py3-none-any.whl',0,0,'');
INSERT INTO release_file VALUES(5,'2026-11-21 12:02:14',4,'alpha-1.0-py3-none-any.whl','203f30e2b2d5de91bb0acc094ece086c',878,'bdist_wheel','py3','https://packages.example.com/packages/alpha-1.0-py3-none-any.whl',1,0,'');
CREATE UNIQUE INDEX idx_user_login_local ON user (login, local);
CREATE UNIQUE INDEX idx_classifier_category_name ON classifier (category, name);
CREATE UNIQUE INDEX idx_release_package_id_version ON release (package_id, version);
COMMIT;

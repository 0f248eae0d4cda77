"""The texts that `caseus.export.serving` fills in; what stands as @{name} is put in there."""

from __future__ import annotations

from typing import Final

NGINX: Final = r"""# The tree @{tree}, for nginx: include this file inside `http { }`. It needs no module.
# Made by `caseus export`.

# JSON for the clients that name it first; HTML for browsers, for older pips, and for all who don't say.
@{nginx_json}
server {
    listen 80;
    server_name @{host};
    root @{tree};
    charset utf-8;
    absolute_redirect off;
    types {
        text/html                            html;
        application/json                     json;
        application/rss+xml                  xml;
        text/plain                           txt;
    }
    default_type application/octet-stream;
@{nginx_compressed}@{nginx_404}
    location ~ "/\." { return 404; }
    location = /caseus-export.state { return 404; }
    location = /caseus-export.files { return 404; }

    location = /simple/index.html { add_header Cache-Control no-cache; }
    location = /simple/index.json {
        add_header Cache-Control no-cache;
        types { application/vnd.pypi.simple.v1+json json; }
    }

    # pip before 8.1.2 and easy_install ask for names as they are written: `Foo.Bar` is `foo-bar`. With one sign more
    # than twenty times in it, nothing is called so: nginx goes around ten times only.
    location ~ "^/(?:simple|pypi)/[^/]*?([A-Z._])(?:(?:(?!\1)[^/])*\1){20}" { return 404; }
    location ~ "^/(?:simple|pypi)/[^/]*[A-Z._]" {
@{nginx_names}
        rewrite ^ $uri last;
    }
    location ~ "^/(?:simple|pypi)/[^/]*--" {
        rewrite "^(/(?:simple|pypi)/[^/]*?)--+(.*)$" "$1-$2";
        rewrite ^ $uri last;
    }

    # Pages: asked for again each time, answered by 304 while they are as they were.
    location = /simple { return 301 /simple/$is_args$args; }
    location ~ "^/simple/(?<caseus_name>[^/]+)$" { return 301 /simple/$caseus_name/$is_args$args; }
    location ~ "^/simple/(?:[^/]+/)?$" {
        add_header Cache-Control no-cache;
        add_header Vary Accept;
        types {
            text/html                            html;
            application/vnd.pypi.simple.v1+json  json;
        }
        try_files $uri$caseus_page =404;
    }
    location ~ "^/simple/[^/]+/index\.(?:html|json)$" {
        add_header Cache-Control no-cache;
        types {
            text/html                            html;
            application/vnd.pypi.simple.v1+json  json;
        }
        try_files $uri =404;
    }
    location ~ "^/pypi/.*/json$" {
        add_header Cache-Control no-cache;
        types {}
        default_type application/json;
        try_files $uri =404;
    }
@{nginx_files}@{nginx_pool}
    location / {
        add_header Cache-Control no-cache;
        try_files $uri $uri/index.html =404;
    }
}
"""

CADDY: Final = """# The tree @{tree}, for Caddy. Made by `caseus export`.
# Caddy can't put names into lower case: pips before 8.1.2 find only projects whose name they write as it is normalised.

@{host} {
	@hidden path_regexp /\\.|^/caseus-export\\.
	handle @hidden {
		respond 404
	}
@{caddy_files}@{caddy_pool}
	handle {
		root * @{tree}
		header Cache-Control no-cache
		header /simple/* Vary Accept
		redir /simple /simple/ permanent
		@no_slash path_regexp name ^/simple/([a-z0-9-]+)$
		redir @no_slash /simple/{re.name.1}/ permanent
		header /pypi/* Content-Type application/json
@{caddy_json}
		file_server@{caddy_compressed}
	}
}
"""

S3: Final = """# The tree @{tree} on S3

Made by `caseus export`.

Every link names its `index.html`, so people can click through a bucket as it is. pip and uv ask for `simple/PROJECT/`:
they need the bucket's website endpoint with `index.html` as its index document, or CloudFront with `cloudfront.js`.

1. Copy what changed, the pages first and the lists after them, then delete what is gone:

   ```sh
   aws s3 sync @{tree} s3://BUCKET --exclude "*" --include "simple/*/*" --include "pypi/*" \\
     --cache-control no-cache --size-only
   aws s3 sync @{tree} s3://BUCKET --exclude "caseus-export.*" --cache-control no-cache
   aws s3 sync @{tree} s3://BUCKET --exclude "caseus-export.*" --cache-control no-cache --delete
   ```

   Leave the first line's `--size-only` out if pages may change without changing their size.
2. `pypi/…/json` have no ending: give them their type by `--content-type application/json`.
   `simple/…/index.json` want `application/vnd.pypi.simple.v1+json`.
3. CloudFront: make a function of `cloudfront.js` and associate it with *viewer request*. It finds @{pages}, and
   normalises names for pips before 8.1.2. Have `Accept` in the key of its cache, or clients get each other's form.
4. S3 reads a bare `+` in a path as a space; links of this tree write it as `%2B`.

GitHub Pages: everything is there: @{github}. It serves HTML only, which every client takes.
"""

CLOUDFRONT: Final = r"""// Made by `caseus export`: a CloudFront function for viewer requests.
var JSON_PAGES = @{cloudfront_json};

function handler(event) {
  var request = event.request;
  var parts = request.uri.split("/");
  if ((parts[1] === "simple" || parts[1] === "pypi") && parts[2] && !/^index\.(html|json)$/.test(parts[2])) {
    var name = parts[2].replace(/[-_.]+/g, "-").toLowerCase();
    if (parts[1] === "simple" && parts.length === 3) {
      var there = { location: { value: "/simple/" + name + "/" } };
      return { statusCode: 301, statusDescription: "Moved Permanently", headers: there };
    }
    parts[2] = name;
    request.uri = parts.join("/");
  }
  if (request.uri.endsWith("/")) {
    var accept = request.headers.accept ? request.headers.accept.value : "";
    var json = /@{json_accept}/i.test(accept);
    request.uri += JSON_PAGES && json && parts[1] === "simple" ? "index.json" : "index.html";
  }
  return request;
}
"""

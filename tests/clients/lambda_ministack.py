"""The Lambda functions of bio-bff on ministack: Secrets Manager, Cognito, S3, SQS, API Gateway (HTTP and WebSocket) and
Lambda, wired as bff/deploy/app.yaml wires them. A photo goes in by a presigned address; the bucket's event, the queue, the
vision service and its webhook do the rest; the socket tells; the meal is confirmed once.

    lambda_ministack.py AWS_ENDPOINT BOOTSTRAP VISION_URL PG_PORT PHOTO

Needs ministack, boto3, cryptography and websockets. PostgreSQL has a database `bio` owned by `bio_owner`, and speaks TLS.
"""

import asyncio
import http.client
import http.server
import io
import json
import secrets
import sys
import threading
import time
import urllib.request
import zipfile

import boto3
import websockets

endpoint, bootstrap, vision, pg_port, photo = sys.argv[1:6]
port = int(endpoint.rsplit(":", 1)[1])
REGION = "us-east-1"


def aws(service):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


class Front(http.server.BaseHTTPRequestHandler):
    """An address without a name of its own in front of one of API Gateway's, which is told apart by its host."""

    protocol_version = "HTTP/1.1"
    host = ""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "content-length")}
        connection.request(self.command, self.path, body=body, headers={**headers, "Host": self.host})
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def log_message(self, *_):
        pass


def front(host):
    handler = type("Of", (Front,), {"host": host})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def secret(name, value):
    return aws("secretsmanager").create_secret(Name=name, SecretString=json.dumps(value))["ARN"]


def token():
    """Of a user of a pool, and what a verifier needs."""
    cognito = aws("cognito-idp")
    pool = cognito.create_user_pool(PoolName="bio")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="app", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
    client = client["UserPoolClient"]["ClientId"]
    password = "Only-for-this-1!"
    cognito.admin_create_user(UserPoolId=pool, Username="ann", TemporaryPassword=password, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="ann", Password=password, Permanent=True)
    got = cognito.initiate_auth(ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": "ann", "PASSWORD": password})
    access = got["AuthenticationResult"]["AccessToken"]
    claims = json.loads(__import__("base64").urlsafe_b64decode(access.split(".")[1] + "=="))
    return access, {"BFF_COGNITO_ISSUER": claims["iss"], "BFF_COGNITO_CLIENT_IDS": client,
                    "BFF_COGNITO_JWKS_URL": f"{endpoint}/{pool}/.well-known/jwks.json"}


def queues():
    sqs = aws("sqs")
    found = {}
    for name, visibility in (("events", 720), ("uploads", 360)):
        dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        dead = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 6})
        url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(visibility), "RedrivePolicy": redrive})["QueueUrl"]
        found[name] = url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return found


def buckets(upload_queue):
    s3 = aws("s3")
    for name in ("uploads", "keep", "training", "code"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(Bucket="uploads", NotificationConfiguration={"QueueConfigurations": [
        {"QueueArn": upload_queue, "Events": ["s3:ObjectCreated:*"],
         "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "user_"}]}}}]})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        z.writestr(info, open(bootstrap, "rb").read())
    s3.put_object(Bucket="code", Key="bff.zip", Body=packed.getvalue())


def function(part, common, **own):
    environment = {**common, "BFF_LAMBDA": part, **own}
    return aws("lambda").create_function(
        FunctionName=part, Runtime="provided.al2023", Handler="bootstrap", Role="arn:aws:iam::000000000000:role/bff",
        Code={"S3Bucket": "code", "S3Key": "bff.zip"}, Timeout=60, MemorySize=1024, Environment={"Variables": environment})["FunctionArn"]


def invoke(part, event):
    answer = aws("lambda").invoke(FunctionName=part, Payload=json.dumps(event))
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, f"{part}: {body}"
    return body


def call(base, method, path, access, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"authorization": f"Bearer {access}", "content-type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or "null"), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null"), error.headers


async def scan(base, socket_host, access):
    """From the first request to a meal that counts; the socket says when to look."""
    async with websockets.connect(f"ws://{socket_host}/test", host="127.0.0.1", port=port, open_timeout=30) as socket:
        await socket.send(json.dumps({"type": "hello", "token": access}))
        hear = lambda: asyncio.wait_for(socket.recv(), 90)
        assert json.loads(await hear()) == {"type": "welcome"}
        assert json.loads(await hear())["type"] == "resync"
        data = open(photo, "rb").read()
        status, made, _ = call(base, "POST", "/scans", access, {"photos": [{"content_type": "image/jpeg", "bytes": len(data), "pitch_deg": 25}]})
        assert status == 201, made
        put = made["uploads"][0]["put"]
        begun = time.monotonic()
        urllib.request.urlopen(urllib.request.Request(put["url"], data, put["headers"], method="PUT"), timeout=60)
        while True:
            notice = json.loads(await hear())
            if notice["type"] == "notice" and notice["kind"] == "scan_ready":
                break
        took = time.monotonic() - begun
        assert notice["id"] == made["scan"]["id"], notice
    print(f"upload to notice: {took:.1f} s, through functions that start for each part")
    path = f"/scans/{notice['id']}"
    status, found, headers = call(base, "GET", path, access)
    assert status == 200 and found["state"] == "ready" and found["meal"]["status"] == "pending_confirmation", found
    etag = {"if-match": headers["etag"]}
    for _ in range(2):
        status, done, _ = call(base, "POST", f"{path}/confirm", access, {}, **etag)
        assert status == 200 and done["state"] == "confirmed", done
    kcal = round(found["result"]["totals"]["kcal"]["p50"])
    _, day, _ = call(base, "GET", "/dashboard/state", access)
    assert day["totals"]["meals"] == 1 and abs(day["totals"]["calories"] - kcal) <= 1, day


def main():
    access, cognito = token()
    urls = queues()
    buckets(urls["uploads"][1])
    gateway = aws("apigatewayv2")
    api = gateway.create_api(Name="http", ProtocolType="HTTP")["ApiId"]
    sockets = gateway.create_api(Name="sockets", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.type")["ApiId"]
    host = lambda of: f"{of}.execute-api.localhost:{port}"
    base, socket_base = front(host(api)), front(host(sockets))
    owner = secret("owner", {"username": "bio_owner", "password": "owner"})
    logins = {role: secret(role, {"username": f"{role}_login", "password": secrets.token_urlsafe(20)}) for role in ("api", "worker")}
    service = secret("service", {"BFF_SECRET": secrets.token_hex(32)})
    common = {**cognito, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
              "BFF_DATABASE_HOST": "127.0.0.1", "BFF_DATABASE_PORT": pg_port, "BFF_DATABASE_NAME": "bio", "BFF_DATABASE_CONNECTIONS": "2",
              "BFF_SECRETS": service, "BFF_QUEUE_URL": urls["events"][0], "BFF_UPLOAD_BUCKET": "uploads", "BFF_BUCKET": "keep",
              "BFF_TRAINING_BUCKET": "training", "BFF_S3_PATH_STYLE": "true", "BFF_VISION": "dragunov", "BFF_VISION_URL": vision,
              "BFF_PUBLIC_URL": base, "BFF_WEBSOCKET_ENDPOINT": f"{socket_base}/test", "RUST_LOG": "warn"}
    function("migrate", common, BFF_DATABASE_LOGIN=owner, BFF_API_LOGIN=logins["api"], BFF_WORKER_LOGIN=logins["worker"])
    for _ in range(2):
        assert invoke("migrate", {})["schema"] == "up to date"
    print("migrated, twice; the logins have their passwords")
    arn = {part: function(part, common, BFF_DATABASE_LOGIN=logins[login])
           for part, login in (("api", "api"), ("sockets", "api"), ("worker", "worker"), ("uploads", "worker"))}
    for part, queue in (("worker", "events"), ("uploads", "uploads")):
        aws("lambda").create_event_source_mapping(FunctionName=part, EventSourceArn=urls[queue][1], BatchSize=10,
                                                  FunctionResponseTypes=["ReportBatchItemFailures"])
    for of, part, routes in ((api, "api", ["$default"]), (sockets, "sockets", ["$connect", "$disconnect", "$default"])):
        integration = gateway.create_integration(ApiId=of, IntegrationType="AWS_PROXY", IntegrationUri=arn[part], PayloadFormatVersion="2.0" if of == api else "1.0")
        for route in routes:
            gateway.create_route(ApiId=of, RouteKey=route, Target=f"integrations/{integration['IntegrationId']}")
        gateway.create_stage(ApiId=of, StageName="$default" if of == api else "test", AutoDeploy=True)
    status, me, _ = call(base, "GET", "/me", access)
    assert status == 200, me
    assert call(base, "GET", "/me", "forged")[0] == 401
    print("the HTTP API answers")
    stop = threading.Event()

    def tick():
        while not stop.wait(20):
            invoke("worker", {"source": "aws.scheduler"})

    threading.Thread(target=tick, daemon=True).start()
    asyncio.run(scan(base, host(sockets), access))
    stop.set()
    print("lambda: all passed")


main()

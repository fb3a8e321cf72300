"""An S3 server of others (moto) that checks signatures, on a free port of this machine; and an owner of its bucket who answers
questions: one JSON object a line in, one out."""

import json
import logging
import sys

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

BUCKET = "attachments"
REGION = "eu-test-1"

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://127.0.0.1:{port}"


def client(service, key):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def user(iam, name, actions):
    iam.create_user(UserName=name)
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    }
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    return iam.create_access_key(UserName=name)["AccessKey"]


nobody = {"AccessKeyId": "x", "SecretAccessKey": "x"}
iam = client("iam", nobody)
owner = user(iam, "owner", ["s3:*"])
reader = user(iam, "reader", ["s3:GetObject"])
client("s3", nobody).create_bucket(
    Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
)
# From now on keys and signatures count.
requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
s3 = client("s3", owner)


def key(of):
    return {"id": of["AccessKeyId"], "secret": of["SecretAccessKey"]}


def answer(question):
    if "list" in question:
        found = s3.list_objects_v2(Bucket=BUCKET)
        return {one["Key"]: one["Size"] for one in found.get("Contents", [])}
    if "uploads" in question:
        found = s3.list_multipart_uploads(Bucket=BUCKET)
        return [one["Key"] for one in found.get("Uploads", [])]
    if "begin" in question:
        s3.create_multipart_upload(Bucket=BUCKET, Key=question["begin"])
        return None
    if "put" in question:
        s3.put_object(Bucket=BUCKET, Key=question["put"], Body=question["bytes"].encode())
        return None
    if "remove" in question:
        s3.delete_object(Bucket=BUCKET, Key=question["remove"])
        return None
    raise ValueError(question)


print(
    json.dumps(
        {
            "address": f"127.0.0.1:{port}",
            "bucket": BUCKET,
            "region": REGION,
            "owner": key(owner),
            "reader": key(reader),
        }
    ),
    flush=True,
)
for line in sys.stdin:
    try:
        said = {"done": answer(json.loads(line))}
    except ClientError as error:
        said = {"error": str(error)}
    print(json.dumps(said), flush=True)

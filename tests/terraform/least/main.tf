# The least that the module takes: one region, no trail of its own, no roles but the application's.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

variable "account_id" {
  type = string
}

variable "mail" {
  type = string
}

resource "aws_cloudwatch_log_group" "organisation" {
  name              = "the-organisations-trail"
  retention_in_days = 365
}

module "master_key" {
  source = "../aws-kms"

  name                  = "least"
  app                   = "ophie"
  administrator_arns    = ["arn:aws:iam::${var.account_id}:role/deploy"]
  application_role_arns = ["arn:aws:iam::${var.account_id}:role/ophie-api"]
  create_trail          = false
  log_group_name        = aws_cloudwatch_log_group.organisation.name
  alarm_action_arns     = ["arn:aws:sns:eu-west-1:${var.account_id}:${var.mail}"]
}

output "key_arn" {
  value = module.master_key.key_arn
}

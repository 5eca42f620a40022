//! `mayfly.v1.UserService`.

use std::{collections::BTreeSet, sync::Arc};

use tonic::{Request, Response, Status, async_trait};

use super::super::{
    call::{Call, OpenCall, Shared},
    convert,
    page::{self, Listing},
    parse::{self, Fields, named, resource},
    status,
};
use crate::{
    api::proto::{
        self, ChangePasswordRequest, ChangePasswordResponse, ConfirmSecondFactorRequest,
        ConfirmSecondFactorResponse, CreateUserRequest, CreateUserResponse, DeleteUserRequest,
        DeleteUserResponse, DisableUserRequest, DisableUserResponse, EnableUserRequest, EnableUserResponse,
        EnrolUserRequest, EnrolUserResponse, GetUserRequest, GetUserResponse, ListUsersRequest,
        ListUsersResponse, OfferSecondFactorRequest, OfferSecondFactorResponse, ResetUserRequest,
        ResetUserResponse, SetUserGroupsRequest, SetUserGroupsResponse,
    },
    domain::{GroupName, Password, PrincipalName},
    identity::people::{RecoveryCode, User},
    issuer::{NewPassword, NewUser},
};

/// Accounts of people.
pub(in super::super) struct Service(pub(in super::super) Arc<Shared>);

fn message(user: &User) -> proto::User {
    proto::User {
        name: user.resource(),
        display_name: user.display_name.clone(),
        mail: user.mail.clone(),
        groups: user.groups.iter().map(ToString::to_string).collect(),
        has_password: user.password.is_some(),
        has_second_factor: user.second_factor.is_some(),
        recovery_codes: u32::try_from(user.recovery.len()).unwrap_or(u32::MAX),
        enrolment_expire_time: user.enrolment.as_ref().map(|code| convert::timestamp(code.expires_at)),
        failures: user.failures,
        lock_expire_time: user.locked_until.map(convert::timestamp),
        disable_time: user.disabled_at.map(convert::timestamp),
        create_time: Some(convert::timestamp(user.created_at)),
        sign_in_time: user.signed_in_at.map(convert::timestamp),
    }
}

fn new_user(asked: &CreateUserRequest) -> Result<NewUser, Status> {
    let mut fields = Fields::default();
    let name = fields.take("user", resource("users", &asked.user));
    let groups = fields.each("groups", &asked.groups, |group| group.parse::<GroupName>());
    let life = fields.take("ttl", asked.ttl.as_ref().map(parse::duration).transpose());
    let (Some(name), Some(groups), Some(life)) = (name, groups, life) else { return Err(fields.refuse()) };
    Ok(NewUser {
        name,
        display_name: asked.display_name.clone(),
        mail: asked.mail.clone(),
        groups: groups.into_iter().collect(),
        life,
    })
}

#[async_trait]
impl proto::user_service_server::UserService for Service {
    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let call = Call::of(request)?;
        let new = new_user(&call.message)?;
        let made = self.0.issuer.add_user(call.caller(), new).await;
        let made = made.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(CreateUserResponse { user: Some(message(&made.user)), code: made.code.expose() }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let user = self.0.issuer.user(call.caller(), &name).await;
        let user = user.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(GetUserResponse { user: Some(message(&user)) }))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let call = Call::of(request)?;
        let listing = Listing::of("users");
        let mut fields = Fields::default();
        let size = fields.take("page_size", page::size(call.message.page_size));
        let before = listing.cursor(&call.message.page_token, |text| text.parse().ok());
        let before: Option<Option<PrincipalName>> = fields.take("page_token", before);
        let (Some(size), Some(before)) = (size, before) else { return Err(fields.refuse()) };
        let users = self.0.issuer.users(call.caller(), before.as_ref(), size.saturating_add(1)).await;
        let users = users.map_err(|refusal| call.refused(&refusal))?;
        let bounds = (size, false, self.0.reply_budget);
        let cut = listing.cut(&users, bounds, message, |user| user.name.to_string());
        Ok(Response::new(ListUsersResponse { users: cut.messages, next_page_token: cut.next }))
    }

    async fn disable_user(
        &self,
        request: Request<DisableUserRequest>,
    ) -> Result<Response<DisableUserResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let user = self.0.issuer.disable_user(call.caller(), &name, true).await;
        let user = user.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(DisableUserResponse { user: Some(message(&user)) }))
    }

    async fn enable_user(
        &self,
        request: Request<EnableUserRequest>,
    ) -> Result<Response<EnableUserResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let user = self.0.issuer.disable_user(call.caller(), &name, false).await;
        let user = user.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(EnableUserResponse { user: Some(message(&user)) }))
    }

    async fn set_user_groups(
        &self,
        request: Request<SetUserGroupsRequest>,
    ) -> Result<Response<SetUserGroupsResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let mut fields = Fields::default();
        let groups = fields.each("groups", &call.message.groups, |group| group.parse::<GroupName>());
        let groups: BTreeSet<_> = groups.ok_or_else(|| fields.refuse())?.into_iter().collect();
        let user = self.0.issuer.set_groups(call.caller(), &name, groups).await;
        let user = user.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(SetUserGroupsResponse { user: Some(message(&user)) }))
    }

    async fn reset_user(
        &self,
        request: Request<ResetUserRequest>,
    ) -> Result<Response<ResetUserResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let mut fields = Fields::default();
        let life = fields.take("ttl", call.message.ttl.as_ref().map(parse::duration).transpose());
        let life = life.ok_or_else(|| fields.refuse())?;
        let made = self.0.issuer.reset_user(call.caller(), &name, call.message.second_factor, life).await;
        let made = made.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(ResetUserResponse { user: Some(message(&made.user)), code: made.code.expose() }))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let call = Call::of(request)?;
        let name: PrincipalName = named("users", &call.message.name)?;
        let user = self.0.issuer.remove_user(call.caller(), &name).await;
        let user = user.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(DeleteUserResponse { user: Some(message(&user)) }))
    }

    async fn enrol_user(
        &self,
        request: Request<EnrolUserRequest>,
    ) -> Result<Response<EnrolUserResponse>, Status> {
        let OpenCall { address, message: asked } = OpenCall::of(request);
        let new = NewPassword {
            name: asked.user,
            code: Password::new(asked.code),
            password: Password::new(asked.password),
            address,
        };
        let user = self.0.issuer.enrol(new).await;
        let user = user.map_err(|refusal| status::refused_stranger(&refusal))?;
        Ok(Response::new(EnrolUserResponse { user: Some(message(&user)) }))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let mut call = Call::of(request)?;
        let old = Password::new(std::mem::take(&mut call.message.old_password));
        let new = Password::new(std::mem::take(&mut call.message.new_password));
        let changed = self.0.issuer.change_password(call.caller(), &old, &new).await;
        changed.map_err(|refusal| call.refused(&refusal))?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn offer_second_factor(
        &self,
        request: Request<OfferSecondFactorRequest>,
    ) -> Result<Response<OfferSecondFactorResponse>, Status> {
        let mut call = Call::of(request)?;
        let password = Password::new(std::mem::take(&mut call.message.password));
        let offered = self.0.issuer.offer_second_factor(call.caller(), &password).await;
        let offered = offered.map_err(|refusal| call.refused(&refusal))?;
        let (url, secret) = (offered.url.expose().to_owned(), offered.secret.expose().to_owned());
        Ok(Response::new(OfferSecondFactorResponse { url, secret }))
    }

    async fn confirm_second_factor(
        &self,
        request: Request<ConfirmSecondFactorRequest>,
    ) -> Result<Response<ConfirmSecondFactorResponse>, Status> {
        let mut call = Call::of(request)?;
        let code = Password::new(std::mem::take(&mut call.message.code));
        let codes = self.0.issuer.confirm_second_factor(call.caller(), &code).await;
        let codes = codes.map_err(|refusal| call.refused(&refusal))?;
        let recovery_codes = codes.iter().map(RecoveryCode::expose).collect();
        Ok(Response::new(ConfirmSecondFactorResponse { recovery_codes }))
    }
}

#include "translate/serve_options.hpp"

#include "translate/serve_hosts.hpp"
#include "translate/validators.hpp"
#include "translate/weights.hpp"

namespace translate {

void add_serve_options(CLI::App* command, ServeArguments& arguments) {
  command->add_option("--model", arguments.model, "folder of the model; clients may choose models beside it")
      ->required();
  command->add_option("--host", arguments.host, "address to listen at; 0.0.0.0: all of this machine's")
      ->capture_default_str();
  command->add_option("--port", arguments.port, "port to listen at; 0: any free one")
      ->check(whole_in(0, 65'535))
      ->capture_default_str();
  command
      ->add_option("--allow-host", arguments.allow_hosts,
                   "name by which browsers may call this server, besides localhost and --host; may be repeated")
      ->check(CLI::Validator(
          [](const std::string& given) {
            return host_name(given).empty() ? "is " + given + ", expected a name or address, without scheme and port"
                                            : std::string();
          },
          "NAME"))
      ->allow_extra_args(false);
  add_weights(command, arguments.weights);
  ServeLimits& limits = arguments.limits;
  const auto add = [&](const char* name, auto& value, const CLI::Validator& range, const char* help) {
    command->add_option(name, value, help)->check(range)->capture_default_str()->group("Limits");
  };
  add("--max-body", limits.max_body, whole_in(1, 100'000'000), "bytes of a request");
  add("--max-sentences", limits.max_sentences, whole_in(1, 10'000), "sentences of a request");
  add("--max-beam-size", limits.max_beam_size, whole_in(1, 1000), "beam size and number of hypotheses of a request");
  add("--max-influence", limits.max_influence, whole_in(1, 100'000), "source tokens whose influence is computed");
  add("--max-attention", limits.max_attention, whole_in(1, 1'000'000'000),
      "attention weights of an answer: hypotheses * target tokens * source tokens");
  add("--max-waiting", limits.max_waiting, whole_in(1, 100'000), "requests that wait for their turn");
  add("--max-connections", limits.max_connections, whole_in(1, 10'000), "connections open at once");
  add("--max-models", limits.max_models, whole_in(1, 1000), "models in memory");
  add("--client-seconds", limits.client_seconds, above_0_up_to(3600),
      "time in which a client must send its request, and its longest pause while it reads the answer");
  add("--decode-seconds", limits.decode_seconds, above_0_up_to(1'000'000),
      "time in which a request is answered; a batch of requests has the time of all");
  add("--batch-tokens", limits.batch_tokens, whole_in(1, 100'000'000),
      "source and target tokens of all hypotheses that are decoded at once");
}

}  // namespace translate

/// What is said in a dialog when its handoff moves, as a system message.
package enum HandoffNotice: String, Sendable, CaseIterable {
    case requested = "handoff_requested"
    case started = "handoff_started"
    case transferred = "handoff_transferred"
    case released = "handoff_released"
    case cancelled = "handoff_cancelled"
    case timedOut = "handoff_timeout"
    case operatorLost = "handoff_operator_offline"

    /// The Russian wording is that of the system that this one replaces, where it had one.
    package func text(in locale: Assistant.Locale) -> String {
        switch (self, locale) {
        case (.requested, .russian):
            "Переключаем ваш диалог на сотрудника. Мы уже занимаемся вашим вопросом, ответим в ближайшее время"
        case (.requested, .english): "We are passing you to a colleague, who will answer shortly"
        case (.started, .russian): "Оператор подключился"
        case (.started, .english): "An operator has joined"
        case (.transferred, .russian): "Ваш диалог передан другому оператору"
        case (.transferred, .english): "Another operator has taken over"
        case (.released, .russian): "Диалог возвращен к AI-ассистенту. Спасибо за обращение!"
        case (.released, .english): "You are back with the assistant. Thank you for writing!"
        case (.cancelled, .russian): "Запрос оператора отменен"
        case (.cancelled, .english): "The request for an operator was cancelled"
        case (.timedOut, .russian): "Сейчас никто из операторов не смог ответить. Вам снова отвечает AI-ассистент"
        case (.timedOut, .english): "Nobody was free to answer. You are back with the assistant"
        case (.operatorLost, .russian): "Оператор отключился. Вы первые в очереди, скоро ответит другой сотрудник"
        case (.operatorLost, .english):
            "The operator has left. You are first in the queue, a colleague will answer soon"
        }
    }
}

/// How a move stands in the streams.
package enum HandoffEvent: String, Sendable, CaseIterable {
    case requested = "handoff_requested"
    case started = "handoff_started"
    case transferred = "handoff_transferred"
    case released = "handoff_released"
    case cancelled = "handoff_cancelled"
}
